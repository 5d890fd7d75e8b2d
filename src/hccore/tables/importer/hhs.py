"""The HHS-HCC models of the ACA: adult, child and infant in one folder a year.

CMS publishes the models as the "Do It Yourself" (DIY) tables and as a package of CSV files of the
same content, whose names and columns are read here. What sets a variable, and in which order, is
written in DIY Tables 6 (adult), 7 (child) and 8 (infant) and repeated here. Where CMS's program of
2025 departs from these tables, the tables count (see the notes in `hcc_mappings/sources.toml`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hccore.base.errors import TableError
from hccore.tables.importer.age_sex import CMS_SEXES, Interval, Region, age_condition, joined, parse_ages
from hccore.tables.importer.catalogue import Entry
from hccore.tables.importer.model_folder import ModelFolder
from hccore.tables.importer.source_files import Package, SourceFile, SourceRow, read_package

FAMILIES = ("hhs_hcc",)

ACF_NDC, ACF_HCPCS = "acf_NDC_mappings", "acf_HCPCS_mappings"
DIAGNOSES, NDC, HCPCS = "ICD10_HHS_CC_mappings", "NDC_mappings", "HCPCS_mappings"
HIERARCHY, RXC_HIERARCHY = "HCC_hierarchy", "RXC_hierarchy"
RXC_LABELS, LABELS = "RXC_labels", "labels"
RXC_INTERACTIONS = "RXC_interactions"
SEVERE, TRANSPLANT = "severe_list", "transplant_list"
SEVERE_V3, INT_GROUP_H = "severe_v3_list", "int_group_h_list"
MATURITY, SEVERITY = "infant_maturity_mappings", "infant_severity_mappings"
EXCLUDED, CSR = "model_excluded_HCCs", "CSR_table"

# The table that each kind of file ends up in. RXC_labels stands before labels and the ACF files
# before those of the RXCs: the first kind that a file's name ends in is its kind.
TABLES = {
    ACF_NDC: "codes",
    ACF_HCPCS: "codes",
    DIAGNOSES: "codes",
    NDC: "codes",
    HCPCS: "codes",
    HIERARCHY: "hierarchy",
    RXC_HIERARCHY: "hierarchy",
    RXC_LABELS: "variables",
    LABELS: "variables",
    "adult_group_mappings": "rules",
    "child_group_mappings": "rules",
    RXC_INTERACTIONS: "rules",
    SEVERE: "rules",
    TRANSPLANT: "rules",
    SEVERE_V3: "rules",
    INT_GROUP_H: "rules",
    MATURITY: "rules",
    SEVERITY: "rules",
    "adult_model_factors": "coefficients",
    "child_model_factors": "coefficients",
    "infant_model_factors": "coefficients",
    EXCLUDED: "coefficients",
    CSR: "multipliers",
}
# In CMS's package, but without effect on a score: claims are selected before (DIY Table 2), and the
# codes of mothers and infants on each other's claims only give warnings (DIY Table 1).
WITHOUT_EFFECT = (
    "eligible_hcpcs",
    "bundled_mother_ICD10_codes",
    "bundled_infant_ICD10_codes",
)

METALS = ("platinum", "gold", "silver", "bronze", "catastrophic")
METAL_LETTERS = {metal[0].upper(): metal for metal in METALS}
_NO_METAL = ""


@dataclass(frozen=True)
class Population:
    """One of the three models, and who is in it (DIY Table 1: age on the last day of enrollment)."""

    name: str
    ages: Interval
    words: str

    @property
    def condition(self) -> str:
        """Who is in it, as a condition."""
        return age_condition(*self.ages)

    @property
    def stem(self) -> str:
        """How CMS's files begin."""
        return self.name.lower()


_OLDEST = 1 << 30
ADULT = Population("ADULT", (21, _OLDEST), "adult (21 or over)")
CHILD = Population("CHILD", (2, 20), "child (2 to 20)")
INFANT = Population("INFANT", (0, 1), "infant (0 or 1)")
POPULATIONS = (ADULT, CHILD, INFANT)

# Not counted among a member's HCCs (DIY Table 6).
NOT_COUNTED = "HHS_HCC022"
# Not in CMS's list of interactions, but in the factors (DIY Table 6): the RXC with one of each list.
TRIPLES = {
    "RXC_09_X_HCC056_057_AND_048_041": (
        "RXC_09",
        ("HHS_HCC056", "HHS_HCC057"),
        ("HHS_HCC048", "HHS_HCC041"),
    )
}
# Maturity of newborns, the first that applies (DIY Table 8).
MATURITIES = ("EXTREMELY_IMMATURE", "IMMATURE", "PREMATURE_MULTIPLES", "TERM")
MATURE = "AGE1"
SEVERITIES = (5, 4, 3, 2, 1)
INFANT_MALES = {0: "AGE0_MALE", 1: "AGE1_MALE"}

_CATEGORY = re.compile(r"HHS_HCC(\d{3})(?:_(\d))?")
_CELL = re.compile(r"([MF])AGE_LAST_(\d+)_(\d+|GT)")
_COUNT = re.compile(r"(SEVERE|TRANSPLANT)_HCC_COUNT(\d+)(?:_(\d+)|(PLUS))?")
_DURATION = re.compile(r"(HCC_ED|ED_)(\d+)")


def build(source: Path, entry: Entry, *, model: str, year: int) -> ModelFolder:
    """The model folder of a release of the HHS-HCC models.

    Raises
    ------
    TableError
        For anything in the release that is not understood.
    """
    package = read_package(source, (*TABLES, *WITHOUT_EFFECT), model=model, year=year)
    folder = ModelFolder(
        model=model,
        year=year,
        title=f"{entry.model['title']}, benefit year {year}",
        program=entry.model["program"],
        hierarchy_mode=entry.model["hierarchy"],
        age_as_of="12-31",
        age_from="column",
        service_year=True,
        notes=entry.notes,
        counted=dict(entry.year.get("counted", {})),
        sources=[
            entry.source(package[kind], table, package) for kind, table in TABLES.items() if kind in package
        ],
    )
    _Builder(package, folder).run()
    return folder


class _Factors(NamedTuple):
    """The rows of one model's factors that no rule has claimed yet."""

    population: Population
    file: SourceFile
    rows: dict[str, SourceRow]


class _Builder:
    """Turns the files of one package into the tables of one folder.

    The order of the methods in `run` is the order of the rules: interactions see the HCCs before
    the groups replace them, counts come after.
    """

    def __init__(self, package: Package, folder: ModelFolder) -> None:
        self.package = package
        self.folder = folder
        self.year = folder.year
        self.categories: dict[str, SourceRow] = {}
        self.drugs: dict[str, str] = {}
        self.excluded: dict[str, set[str]] = {}
        self.groups: dict[str, dict[str, tuple[str, ...]]] = {}
        self.factors: dict[str, _Factors] = {}
        self.sets: set[str] = set()

    def run(self) -> None:
        self._read_categories()
        self._read_excluded()
        self._read_factors()
        self._segments()
        self._multipliers()
        self._populations()
        self._write_categories()
        self._write_drugs()
        self._diagnoses()
        self._drug_codes()
        self._drug_interactions()
        self._read_groups()
        lists = {kind: self._lists(kind) for kind in (SEVERE, TRANSPLANT) if kind in self.package}
        for kind, members in lists.items():
            self._list_rules(kind, members)
        v3 = self._severe_v3()
        self._group_rules()
        for kind, members in lists.items():
            self._list_rules(kind, members)
        self._int_group_h(v3)
        self._counts(lists)
        self._durations()
        self._affiliated_cost_factors()
        self._infants()
        self._refuse_leftovers()

    # ---------------------------------------------------------------- reading

    def _known(self, row: SourceRow, column: str) -> str:
        """A category of the hierarchy table."""
        name = row.need(column)
        if name not in self.categories:
            raise row.fault(column, f"{name} has no row in {self.package[HIERARCHY].name}")
        return name

    def _read_categories(self) -> None:
        """Categories in the order of DIY Table 4, and which ones each of them drops."""
        file = self.package[HIERARCHY]
        file.expect(("HHS_HCC",), families=("SecondaryHCC_",))
        for row in file.rows():
            name = row.need("HHS_HCC")
            if _CATEGORY.fullmatch(name) is None:
                raise row.fault("HHS_HCC", f"{name!r} is not a category")
            if name in self.categories:
                raise row.fault("HHS_HCC", f"{name} has two rows")
            self.categories[name] = row
        for name, row in self.categories.items():
            for column in file.header[1:]:
                if row[column]:
                    edge = (name, self._known(row, column))
                    if edge in self.folder.hierarchy or edge[0] == edge[1]:
                        raise row.fault(column, f"{name} drops {row[column]} twice, or itself")
                    self.folder.hierarchy.append(edge)

    def _read_excluded(self) -> None:
        """Which HCCs are not in which model (DIY Table 12)."""
        file = self.package[EXCLUDED]
        stems = tuple(population.stem for population in POPULATIONS)
        file.expect(("HHS_HCC", *stems))
        for row in file.rows():
            name = self._known(row, "HHS_HCC")
            if name in self.excluded:
                raise row.fault("HHS_HCC", f"{name} has two rows")
            self.excluded[name] = {stem for stem in stems if _yes(row, stem)}

    def _read_factors(self) -> None:
        """The rows of DIY Table 9 of each model."""
        names = {f"{metal.capitalize()} Level": metal for metal in METALS}
        for population in POPULATIONS:
            file = self.package[f"{population.stem}_model_factors"]
            file.expect(("Variable", *names))
            rows: dict[str, SourceRow] = {}
            for row in file.rows():
                name = row.need("Variable")
                if name in rows:
                    raise row.fault("Variable", f"{name} has two rows")
                if re.fullmatch(r"\w+", name) is None:
                    raise row.fault("Variable", f"{name!r} is not a name")
                if population.stem in self.excluded.get(name, ()):
                    raise row.fault("Variable", f"{EXCLUDED} says that {name} is not in this model")
                for column, metal in names.items():
                    row.need(column)
                    self.folder.add_coefficient(name, _segment(population, metal), row.factor(column))
                rows[name] = row
            self.factors[population.name] = _Factors(population, file, rows)

    def _claim(self, population: Population, name: str) -> SourceRow:
        """The row of factors of a variable that is understood now."""
        factors = self.factors[population.name]
        if name not in factors.rows:
            raise TableError(f"{name} has no row of factors", factors.file.path)
        return factors.rows.pop(name)

    def _claim_all(
        self, population: Population, pattern: re.Pattern[str]
    ) -> Iterator[tuple[SourceRow, re.Match[str]]]:
        """The rows of factors whose names have a form."""
        for name in list(self.factors[population.name].rows):
            if match := pattern.fullmatch(name):
                yield self._claim(population, name), match

    def _refuse_leftovers(self) -> None:
        for factors in self.factors.values():
            for name, row in factors.rows.items():
                raise row.fault("Variable", f"{name!r} is not understood: nothing sets it")

    # ---------------------------------------------------------------- members

    def _segments(self) -> None:
        """A score a model and metal level; the three models share the names of the scores."""
        for population in POPULATIONS:
            for metal in METALS:
                self.folder.segments.append(
                    (
                        _segment(population, metal),
                        joined(population.condition, f"metal = {metal}"),
                        f"{population.words}, {metal} plan",
                        f"SCORE_{metal.upper()}",
                        "",
                        population.name,
                        population.condition,
                    )
                )

    def _multipliers(self) -> None:
        """The cost-sharing reduction factor: each indicator names one metal level or all (DIY Table 1)."""
        file = self.package[CSR]
        file.expect(("HIOS_Variant_ID", "CSR_Level", "Metal", "RA_CSR_Indicator", "RA_Factor"))
        factors: dict[int, str] = {}
        metals: dict[int, set[str]] = {}
        levels: dict[int, dict[str, None]] = {}
        for row in file.rows():
            indicator = int(row.whole_number("RA_CSR_Indicator"))
            row.need("RA_Factor")
            factor = row.factor("RA_Factor")
            if factors.setdefault(indicator, factor) != factor:
                raise row.fault("RA_Factor", f"indicator {indicator} also has factor {factors[indicator]}")
            if row["Metal"] and row["Metal"] not in METAL_LETTERS:
                raise row.fault("Metal", f"{row['Metal']!r} is none of {', '.join(METAL_LETTERS)}")
            metals.setdefault(indicator, set()).add(METAL_LETTERS.get(row["Metal"], _NO_METAL))
            levels.setdefault(indicator, {})[row.need("CSR_Level")] = None
        others: dict[str, list[int]] = {}
        for indicator, factor in sorted(factors.items()):
            condition = f"csr_indicator = {indicator}"
            if _NO_METAL not in metals[indicator]:
                if len(metals[indicator]) > 1:
                    raise TableError(f"indicator {indicator} stands for several metal levels", file.path)
                (metal,) = metals[indicator]
                condition = f"metal = {metal} and {condition}"
                if factor != "1.000":
                    others.setdefault(metal, []).append(indicator)
            self.folder.multipliers.append((condition, factor, "; ".join(levels[indicator])))
        self.folder.add_flag(
            "CSR_OTHER_METAL",
            *(
                f"metal != {metal} and {_one_of('csr_indicator', indicators)}"
                for metal, indicators in others.items()
            ),
            label="The CSR indicator belongs to another metal level",
        )
        self.folder.count(
            "CSR_OTHER_METAL",
            "The CSR indicator belongs to another metal level than the member's: no CSR factor is applied.",
        )
        self.folder.add_flag(
            "CSR_UNKNOWN",
            f"not {_one_of('csr_indicator', sorted(factors))}",
            label="The CSR indicator is not in the table of the year",
        )
        self.folder.count(
            "CSR_UNKNOWN",
            "The CSR indicator is not in CMS's table of the year: no CSR factor is applied.",
        )

    def _populations(self) -> None:
        """Model and age-sex cells (DIY Tables 6 and 7); every member of 2 or over is in one cell."""
        for population in POPULATIONS:
            self.folder.add_flag(
                population.name,
                population.condition,
                partition="age_sex" if population is INFANT else "",
                label=f"Scored by the {population.stem} model",
            )
        for population in (ADULT, CHILD):
            for row, cell in self._claim_all(population, _CELL):
                low, high = int(cell[2]), _OLDEST if cell[3] == "GT" else int(cell[3])
                if not (population.ages[0] <= low <= high <= population.ages[1]):
                    raise row.fault("Variable", f"{cell[0]}: not ages of the {population.stem} model")
                sex = "male" if cell[1] == "M" else "female"
                ages = f"{low} or over" if cell[3] == "GT" else f"{low}-{high}"
                self.folder.add_flag(
                    cell[0],
                    joined(age_condition(low, high), f"sex = {sex}"),
                    partition="age_sex",
                    kind="demographic",
                    label=f"{sex.capitalize()}, {ages}",
                )

    # ---------------------------------------------------------------- codes

    def _write_categories(self) -> None:
        """Declare the HCCs with CMS's labels, and claim their factors."""
        file = self.package[LABELS]
        file.expect(("hcc", "label"))
        labels = {self._known(row, "hcc"): row.need("label") for row in file.rows()}
        scored_by = {}
        for population in (ADULT, CHILD):
            rows = self._claim_all(population, _CATEGORY)
            scored_by[population.stem] = {self._known(row, "Variable") for row, _ in rows}
        for name, row in self.categories.items():
            if name not in labels:
                raise row.fault("HHS_HCC", f"{name} has no row in {file.name}")
            self.folder.add_variable(name, "category", _number(name), labels[name])
            gone = self.excluded.get(name, set())
            for stem, scored in scored_by.items():
                if name not in scored and stem not in gone:
                    raise row.fault("HHS_HCC", f"{name} has no row of {stem} factors and is not excluded")
            if {ADULT.stem, CHILD.stem} <= gone:
                self.folder.add_coefficient(name, _segment(ADULT, METALS[0]), "")
                self.folder.accept(
                    "no_effect",
                    name,
                    "only in the infant model, where it counts through maturity or severity",
                )

    def _write_drugs(self) -> None:
        """Declare the RXCs and what drops what (DIY Table 11), and claim their factors."""
        file = self.package[RXC_LABELS]
        file.expect(("RXC", "label"))
        for row in file.rows():
            name = row.need("RXC")
            if re.fullmatch(r"RXC_\d\d", name) is None:
                raise row.fault("RXC", f"{name!r} is not a drug category")
            self._claim(ADULT, name)
            self.drugs[name] = row.need("label")
            self.folder.add_variable(name, "drug", label=self.drugs[name])
        file = self.package[RXC_HIERARCHY]
        file.expect(("RXC", "Secondary_RXC"))
        for row in file.rows():
            edge = (self._drug(row, "RXC"), self._drug(row, "Secondary_RXC"))
            self.folder.hierarchy.append(edge)

    def _drug(self, row: SourceRow, column: str) -> str:
        """A drug category as `RXC_06`, from `6`."""
        name = f"RXC_{int(row.whole_number(column)):02}"
        if name not in self.drugs:
            raise row.fault(column, f"{name} has no row in {self.package[RXC_LABELS].name}")
        return name

    def _diagnoses(self) -> None:
        """Diagnoses to HCCs (DIY Table 3).

        Sex and the age edit are about the member (age on the last day of enrollment); the Medicare
        Code Editor's age and the validity of the code are about the dated diagnosis. Every row of a
        code counts on its own.
        """
        file = self.package[DIAGNOSES]
        valid = (f"valid_ICD10_{self.year}", f"valid_ICD10_{self.year + 1}")
        file.expect(
            (
                "ICD10",
                "CC",
                "MCE_AGE_CONDITION",
                "MCE_SEX_CONDITION",
                "AGE_EDIT_CONDITION",
                "SEX_EDIT_CONDITION",
                *valid,
            )
        )
        regions: dict[tuple[str, str], Region] = {}
        services: dict[tuple[str, str], str] = {}
        for row in file.rows():
            key = _code(row, "ICD10"), self._category_of(row)
            service = joined(*_validity(row, valid, self.year), _diagnosis_age(row))
            if services.setdefault(key, service) != service:
                raise row.fault(
                    "ICD10", f"{key[0]} is mapped to CC {row['CC']} twice, for different dates or MCE ages"
                )
            region = Region.of(*_ages(row, "AGE_EDIT_CONDITION"))
            for column, spelled in (("MCE_SEX_CONDITION", _SEXES), ("SEX_EDIT_CONDITION", CMS_SEXES)):
                if row[column] and row[column] not in spelled:
                    raise row.fault(column, f"{row[column]!r} is none of {', '.join(spelled)}")
                if row[column]:
                    region &= Region.of(sexes=[spelled[row[column]]])
            regions[key] = regions.get(key, Region()) | region
        for key, region in regions.items():
            for condition in region.conditions():
                self.folder.codes.append(("icd10cm", *key, condition, services[key]))

    def _category_of(self, row: SourceRow) -> str:
        """The category of a CC: `3` is HHS_HCC003, `35.1` is HHS_HCC035_1."""
        match = re.fullmatch(r"(\d{1,3})(?:\.(\d))?", row.need("CC"))
        name = "" if match is None else f"HHS_HCC{int(match[1]):03}" + (f"_{match[2]}" if match[2] else "")
        if name not in self.categories:
            raise row.fault("CC", f"{row['CC']!r} has no row in {self.package[HIERARCHY].name}")
        return name

    def _drug_codes(self) -> None:
        """NDC and HCPCS codes to RXCs (DIY Tables 10a and 10b), in the adult model alone (Table 6)."""
        for kind, system in ((NDC, "ndc"), (HCPCS, "hcpcs")):
            file = self.package[kind]
            column = system.upper()
            file.expect((column, "RXC"))
            seen: set[tuple[str, str]] = set()
            for row in file.rows():
                pair = _code(row, column), self._drug(row, "RXC")
                if pair in seen:
                    raise row.fault(column, f"{pair[0]} is mapped to {pair[1]} twice")
                seen.add(pair)
                self.folder.codes.append((system, *pair, ADULT.condition, ""))

    def _affiliated_cost_factors(self) -> None:
        """HIV pre-exposure prophylaxis (DIY Tables 10c and 10d, 2026): a code, without an RXC or HCC.

        A factor is set if any of its codes is there at the right age, unless the member has the RXC
        or HCC of the condition itself. The criteria stand in every row and are the same for each
        factor.
        """
        criteria: dict[str, tuple[str, ...]] = {}
        columns = ("ACF_RXC", "ACF_HCC", "ACF_Age")
        for kind, system in ((ACF_NDC, "ndc"), (ACF_HCPCS, "hcpcs")):
            if kind not in self.package:
                continue
            file = self.package[kind]
            file.expect((system.upper(), "ACF", *columns))
            for row in file.rows():
                name = row.need("ACF")
                given = tuple(row[column] for column in columns)
                if name not in criteria:
                    self._affiliated_cost_factor(name, row)
                if criteria.setdefault(name, given) != given:
                    raise row.fault("ACF", f"{name} has other criteria in earlier rows")
                code = _code(row, system.upper())
                ages = age_condition(*_ages(row, "ACF_Age"))
                target = (system, code, f"{name}_CODE", ages, "")
                if target in self.folder.codes:
                    raise row.fault(system.upper(), f"{code} is mapped to {name} twice")
                self.folder.codes.append(target)

    def _affiliated_cost_factor(self, name: str, row: SourceRow) -> None:
        low, high = _ages(row, "ACF_Age")
        population = next((p for p in POPULATIONS if p.ages[0] <= low <= high <= p.ages[1]), None)
        if population is None:
            raise row.fault("ACF_Age", f"{row['ACF_Age']!r} is not within one model")
        self._claim(population, name)
        unless = [self._drug(row, "ACF_RXC")] if row["ACF_RXC"] else []
        unless += [self._known(row, "ACF_HCC")] if row["ACF_HCC"] else []
        self.folder.add_variable(f"{name}_CODE", "flag", label=f"A code of {name}")
        self.folder.add_variable(name, "term", label=f"Affiliated cost factor, {population.words}")
        self.folder.add_rule("after", name, when=f"{name}_CODE", unless=" ".join(unless))

    # ---------------------------------------------------------------- adult and child rules

    def _set(self, name: str, members: Iterable[str]) -> str:
        """The name of a set of variables: its only member, or a group of `groups.csv`, written once."""
        members = tuple(members)
        if len(members) == 1:
            return members[0]
        if name not in self.sets:
            self.folder.groups += [(name, member) for member in members]
            self.sets.add(name)
        return name

    def _drug_interactions(self) -> None:
        """An RXC with any HCC of a list (DIY Table 6), before groups replace the HCCs."""
        file = self.package[RXC_INTERACTIONS]
        file.expect(("RXC_interaction", "RXC"), families=("HCC_list_",))
        lists: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {}
        for row in file.rows():
            name = row.need("RXC_interaction")
            if row.need("RXC") not in self.drugs:
                raise row.fault("RXC", f"{row['RXC']} has no row in {self.package[RXC_LABELS].name}")
            if name in lists:
                raise row.fault("RXC_interaction", f"{name} has two rows")
            hccs = tuple(self._known(row, column) for column in file.header[2:] if row[column])
            if not hccs:
                raise row.fault("RXC_interaction", f"{name} has no HCC")
            lists[name] = row["RXC"], (hccs,)
        for name, (drug, *more) in TRIPLES.items():
            lists[name] = drug, tuple(more)
        for name, (drug, parts) in lists.items():
            self._claim(ADULT, name)
            sets = [
                self._set(f"{name}_HCCS" + (f"_{n}" if len(parts) > 1 else ""), hccs)
                for n, hccs in enumerate(parts, 1)
            ]
            words = " and ".join(_in_words(hccs) for hccs in parts)
            self.folder.add_variable(name, "interaction", label=f"{self.drugs[drug]} with {words}")
            self.folder.add_rule("after", name, when=" ".join((drug, *sets)))

    def _read_groups(self) -> None:
        """HCC groups of the adult and the child model (DIY Tables 6 and 7)."""
        for population in (ADULT, CHILD):
            file = self.package[f"{population.stem}_group_mappings"]
            file.expect(("Group",), families=("HCC_list_",))
            groups: dict[str, tuple[str, ...]] = {}
            grouped: set[str] = set()
            for row in file.rows():
                name = row.need("Group")
                if name in groups:
                    raise row.fault("Group", f"{name} has two rows")
                self._claim(population, name)
                members = []
                for column in file.header[1:]:
                    if row[column]:
                        members.append(self._known(row, column))
                        if members[-1] in grouped:
                            raise row.fault(column, f"{members[-1]} is in two groups")
                        grouped.add(members[-1])
                if not members:
                    raise row.fault("Group", f"{name} has no HCC")
                groups[name] = tuple(members)
            self.groups[population.name] = groups

    def _group_rules(self) -> None:
        """A group is set by any of its HCCs and replaces all of them."""
        members: dict[str, dict[str, None]] = {}
        for groups in self.groups.values():
            for name, hccs in groups.items():
                members.setdefault(name, {}).update(dict.fromkeys(hccs))
        for name, anywhere in members.items():
            self.folder.add_variable(name, "group", label=f"Group of {_in_words(anywhere)}")
        for population, groups in self.groups.items():
            for name, hccs in groups.items():
                hit = self._set(f"{population}_{name}", hccs)
                self.folder.add_rule("after", name, when=f"{population} {hit}", clears=hit)

    def _lists(self, kind: str) -> dict[str, tuple[str, ...]]:
        """For each model, the HCCs and groups of a list that are marked for it."""
        file = self.package[kind]
        file.expect((kind, ADULT.stem, CHILD.stem))
        members: dict[str, tuple[str, ...]] = {}
        for population in (ADULT, CHILD):
            found = []
            for row in file.rows():
                name = row.need(kind)
                if _yes(row, population.stem):
                    if name not in self.groups[population.name]:
                        self._known(row, kind)
                    if name in found:
                        raise row.fault(kind, f"{name} is there twice")
                    found.append(name)
            if found:
                members[population.name] = tuple(found)
        return members

    def _list_rules(self, kind: str, members: Mapping[str, tuple[str, ...]]) -> None:
        """Severe illness and transplant: any variable of the list, before or after grouping.

        Called once before and once after the groups' rules (DIY Tables 6 and 7).
        """
        name = kind.removesuffix("_list").upper()
        self.folder.add_variable(name, "flag", label=f"Any HCC or group of CMS's {kind}")
        for population, names in members.items():
            hit = self._set(f"{population}_{name}", names)
            self.folder.add_rule("after", name, when=f"{population} {hit}")

    def _counts(self, lists: Mapping[str, Mapping[str, tuple[str, ...]]]) -> None:
        """Severe illness and transplant by the number of HCCs and groups (DIY Tables 6 and 7).

        The number counts all HCCs of the model that are left after grouping, and the groups, except
        HCC 22.
        """
        for population in (ADULT, CHILD):
            for row, match in self._claim_all(population, _COUNT):
                kind = f"{match[1].lower()}_list"
                if population.name not in lists.get(kind, {}):
                    raise row.fault("Variable", f"{match[0]}: nothing of {kind} is in this model")
                low = int(match[2])
                high = None if match[4] else int(match[3] or low)
                what = "severe illness" if match[1] == "SEVERE" else "transplant"
                many = f"{low} or more" if high is None else f"{low}" if high == low else f"{low} to {high}"
                self.folder.add_variable(match[0], "count", label=f"{what.capitalize()} and {many} HCCs")
                self.folder.add_rule(
                    "after",
                    match[0],
                    when=f"{population.name} {match[1]}",
                    count_of=self._counted(population),
                    low=low,
                    high=high,
                )

    def _counted(self, population: Population) -> str:
        """The set of what counts as an HCC of a model."""
        column = _segment(population, METALS[0])
        hccs = [hcc for hcc in self.categories if self.folder.coefficients[hcc].get(column)]
        counted = [*hccs, *self.groups[population.name]]
        return self._set(
            f"{population.name}_HCC_CNT", [variable for variable in counted if variable != NOT_COUNTED]
        )

    def _severe_v3(self) -> str:
        """The severe illness of 2021 and 2022: any HCC of a list, before grouping (DIY Table 6)."""
        if SEVERE_V3 not in self.package:
            return ""
        members = self._lists(SEVERE_V3)
        if list(members) != [ADULT.name]:
            raise TableError("the list is understood for the adult model only", self.package[SEVERE_V3].path)
        hit = self._set("ADULT_SEVERE_V3", members[ADULT.name])
        self.folder.add_variable("SEVERE_V3", "flag", label=f"Any HCC of CMS's {SEVERE_V3}")
        self.folder.add_rule("after", "SEVERE_V3", when=f"{ADULT.name} {hit}")
        return "SEVERE_V3"

    def _int_group_h(self, severe: str) -> None:
        """Severe illness with any HCC or group of a list, after grouping (DIY Table 6, 2021 and 2022)."""
        if not severe:
            return
        members = self._lists(INT_GROUP_H)
        if list(members) != [ADULT.name]:
            raise TableError(
                "the list is understood for the adult model only", self.package[INT_GROUP_H].path
            )
        self._claim(ADULT, "INT_GROUP_H")
        hit = self._set("ADULT_INT_GROUP_H", members[ADULT.name])
        self.folder.add_variable("INT_GROUP_H", "severity", label="Severe illness interaction group H")
        self.folder.add_rule("after", "INT_GROUP_H", when=f"{severe} {hit}")

    def _durations(self) -> None:
        """Months of enrollment (DIY Table 6): alone (2021 and 2022), or with at least one HCC."""
        for row, match in self._claim_all(ADULT, _DURATION):
            months = int(match[2])
            if not 1 <= months <= 12:
                raise row.fault("Variable", f"{match[0]}: not a number of months")
            enrolled = f"ENROLLED_{months}"
            words = f"{months} month{'s' if months > 1 else ''} of enrollment"
            self.folder.add_flag(enrolled, f"enrollment_months = {months}", label=words.capitalize())
            with_hcc = match[1] == "HCC_ED"
            self.folder.add_variable(
                match[0], "duration", label=f"{words.capitalize()}{', with an HCC' if with_hcc else ''}"
            )
            self.folder.add_rule(
                "after",
                match[0],
                when=f"{ADULT.name} {enrolled}",
                count_of=self._counted(ADULT) if with_hcc else "",
                low=1 if with_hcc else None,
            )

    # ---------------------------------------------------------------- infants

    def _infants(self) -> None:
        """Maturity by severity, and the males (DIY Table 8).

        The first maturity and the highest severity with any HCC count. An infant of 1, or of 0
        without a newborn HCC, is `AGE1`; an infant without any HCC has severity 1. A male of 0 who
        is `AGE1` has the term of the males of 1.
        """
        hccs = self._infant_lists(MATURITY, "maturity_category", [f"IHCC_{name}" for name in MATURITIES])
        hccs |= self._infant_lists(
            SEVERITY, "severity_category", [f"IHCC_SEVERITY{level}" for level in SEVERITIES]
        )
        for name in self.folder.accepted.get("no_effect", ()):
            if not any(name in members for members in hccs.values()):
                raise self.categories[name].fault("HHS_HCC", f"{name} is in none of the three models")
        for age in INFANT_MALES:
            self.folder.add_flag(
                f"INFANT_MALE_{age}", f"age = {age} and sex = male", label=f"Male infant of {age}"
            )
        self.folder.add_flag("INFANT_AGE_0", "age = 0", label="Infant of 0")
        self._ladder("INFANT_AGE_0", MATURITIES, hccs)
        mature = f"IHCC_{MATURE}"
        self.folder.add_variable(mature, "flag", label="Infant of 1, or without a newborn HCC")
        self.folder.add_rule(
            "after", mature, when=INFANT.name, unless=" ".join(f"IHCC_{name}" for name in MATURITIES)
        )
        levels = [f"SEVERITY{level}" for level in SEVERITIES]
        self._ladder(INFANT.name, levels[:-1], hccs)
        lowest = f"IHCC_{levels[-1]}"
        self.folder.add_variable(lowest, "flag", label="Infant without an HCC of severity 2 to 5")
        self.folder.add_rule(
            "after", lowest, when=INFANT.name, unless=" ".join(f"IHCC_{name}" for name in levels[:-1])
        )
        for maturity in (*MATURITIES, MATURE):
            for level in levels:
                name = f"{maturity}_X_{level}"
                self._claim(INFANT, name)
                words = maturity.replace("_", " ").capitalize()
                self.folder.add_variable(name, "severity", label=f"{words}, severity {level[-1]}")
                self.folder.add_rule("after", name, when=f"IHCC_{maturity} IHCC_{level}")
        self._infant_males(mature)

    def _infant_lists(self, kind: str, column: str, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The HCCs of each maturity or severity."""
        file = self.package[kind]
        file.expect((column, "HCC_list"))
        lists: dict[str, list[str]] = {name: [] for name in names}
        seen: set[str] = set()
        for row in file.rows():
            if row.need(column) not in lists:
                raise row.fault(column, f"{row[column]!r} is none of {', '.join(lists)}")
            hcc = self._known(row, "HCC_list")
            if hcc in seen:
                raise row.fault("HCC_list", f"{hcc} is there twice")
            if INFANT.stem in self.excluded.get(hcc, ()):
                raise row.fault("HCC_list", f"{EXCLUDED} says that {hcc} is not in the infant model")
            seen.add(hcc)
            lists[row[column]].append(hcc)
        for name, hccs in lists.items():
            if not hccs:
                raise TableError(f"{name} has no HCC", file.path)
        return {name: tuple(hccs) for name, hccs in lists.items()}

    def _ladder(self, who: str, steps: Iterable[str], hccs: Mapping[str, tuple[str, ...]]) -> None:
        """Rules that set the first step of which the member has any HCC."""
        higher: list[str] = []
        for step in steps:
            name = f"IHCC_{step}"
            words = step.replace("_", " ").lower().replace("severity", "severity ")
            self.folder.add_variable(name, "flag", label=f"Infant, {words}")
            hit = self._set(f"{step}_HCCS", hccs[name])
            self.folder.add_rule("after", name, when=f"{who} {hit}", unless=" ".join(higher))
            higher.append(name)

    def _infant_males(self, mature: str) -> None:
        for age, name in INFANT_MALES.items():
            self._claim(INFANT, name)
            self.folder.add_variable(name, "term", label=f"Male infant, {age}")
        own, other = INFANT_MALES[0], INFANT_MALES[1]
        moved = f"{own}_AS_AGE1"
        self.folder.add_variable(moved, "flag", label="Male infant of 0 who has the term of 1")
        self.folder.add_rule("after", own, when="INFANT_MALE_0", unless=mature)
        self.folder.add_rule("after", moved, when=f"INFANT_MALE_0 {mature}")
        self.folder.add_rule("after", other, when=moved)
        self.folder.add_rule("after", other, when="INFANT_MALE_1")


# -------------------------------------------------------------------- cells

_SEXES = {name: name for name in CMS_SEXES.values()}


def _segment(population: Population, metal: str) -> str:
    return f"{population.name}_{metal.upper()}"


def _one_of(column: str, values: Sequence[int]) -> str:
    """The condition that a column has one of the values."""
    if len(values) == 1:
        return f"{column} = {values[0]}"
    return f"{column} in ({', '.join(map(str, values))})"


def _number(name: str) -> str:
    """The number of a category: 3 of HHS_HCC003, 35.1 of HHS_HCC035_1."""
    return name.removeprefix("HHS_HCC").lstrip("0").replace("_", ".")


def _in_words(hccs: Iterable[str]) -> str:
    return f"HCC {', '.join(map(_number, hccs))}"


def _yes(row: SourceRow, column: str) -> bool:
    if row[column] not in ("y", "n"):
        raise row.fault(column, f"{row[column]!r} is neither y nor n")
    return row[column] == "y"


def _code(row: SourceRow, column: str) -> str:
    """A code of the right form; NDCs are padded to 11 characters and may hold letters."""
    code = row.need(column)
    if re.fullmatch(r"[0-9A-Z]+", code) is None:
        raise row.fault(column, f"{code!r} is not a code (upper case, no dots)")
    if column == "NDC":
        code = code.zfill(11)
        if len(code) > 11:
            raise row.fault(column, f"{code!r} has more than 11 characters")
    return code


def _ages(row: SourceRow, column: str) -> Interval:
    ages = parse_ages(row[column])
    if ages is None:
        raise row.fault(column, f"{row[column]!r} is not a condition on age")
    return ages


def _validity(row: SourceRow, columns: tuple[str, str], year: int) -> list[str]:
    """When a code is valid: before 1 October by the first column, from then on by the second.

    Only FALSE refuses a code; a blank (the code set of the next fiscal year is not out yet) does not.
    """
    for column in columns:
        if row[column].upper() not in ("TRUE", "FALSE", ""):
            raise row.fault(column, f"{row[column]!r} is neither TRUE nor FALSE")
    first, second = (row[column].upper() != "FALSE" for column in columns)
    if not first and not second:
        raise row.fault(columns[0], f"{row['ICD10']} is valid in neither fiscal year")
    if first and second:
        return []
    return [f"service_date {'<' if first else '>='} {year}1001"]


def _diagnosis_age(row: SourceRow) -> str:
    """The Medicare Code Editor's age condition, on the age at the diagnosis (DIY Table 3)."""
    low, high = _ages(row, "MCE_AGE_CONDITION")
    if high < _OLDEST:
        return f"diagnosis_age = {low}" if low == high else f"{low} <= diagnosis_age <= {high}"
    return f"diagnosis_age >= {low}" if low else ""
