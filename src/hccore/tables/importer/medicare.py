"""The Medicare families: CMS-HCC, ESRD and RxHCC.

CMS publishes a model as a package of CSV files (Python packages of 2026 onward) whose rows a
program turns into scores. The files say *how much*; what sets a variable stands in the program and
is repeated here, by CMS's names of the variables. Sources of these rules: CMS's Python package for
V28 (2027 initial) and the SAS programs V2823T2M, V2423P1M and V2223O1M (CMS-HCC), E2423T1M and
E2123P1M (ESRD), R0823T1M (RxHCC) with their age/sex macros. What a single model does beside its
tables (recodes before the hierarchies) stands in `hcc_mappings/sources.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hccore.base.errors import TableError
from hccore.tables.importer.age_sex import CMS_SEXES, Region, age_condition, joined, parse_ages
from hccore.tables.importer.catalogue import Entry, catalogue
from hccore.tables.importer.model_folder import ModelFolder
from hccore.tables.importer.source_files import Package, SourceFile, SourceRow, read_package

FAMILIES = ("cms_hcc", "esrd", "rxhcc")

CODES, SEX_EDITS = "ICD10_CC_mappings", "MCE_Sex_Edits"
HIERARCHY, GROUPS, INTERACTIONS = "HCC_Hierarchies", "Diagnosis_Categories", "Interactions"
CE, NE = "CE_Relative_Factors", "NE_Relative_Factors"
NE_DIALYSIS, NE_GRAFT = "NE_Dialysis_Relative_Factors", "NE_Graft_Relative_Factors"
DURATION, TRANSPLANT = "Graft_Duration_Scores", "Transplant_Scores"
INSTITUTIONAL_GRAFT, ADJUSTERS = "CE_Institutional_Graft_Scores", "NE_Graft_Actuarial_Adjusters"

# The table that each kind of file ends up in.
TABLES = {
    CODES: "codes",
    SEX_EDITS: "codes",
    HIERARCHY: "hierarchy",
    GROUPS: "groups",
    INTERACTIONS: "rules",
    CE: "coefficients",
    NE: "coefficients",
    NE_DIALYSIS: "coefficients",
    NE_GRAFT: "coefficients",
    DURATION: "coefficients",
    INSTITUTIONAL_GRAFT: "coefficients",
    TRANSPLANT: "coefficients",
    ADJUSTERS: "segments",
}
_COMMON_KINDS = (CODES, SEX_EDITS, HIERARCHY, CE)
KINDS = {
    "cms_hcc": (*_COMMON_KINDS, GROUPS, INTERACTIONS, NE),
    "rxhcc": (*_COMMON_KINDS, NE),
    "esrd": (
        *_COMMON_KINDS,
        GROUPS,
        INTERACTIONS,
        NE_DIALYSIS,
        NE_GRAFT,
        DURATION,
        INSTITUTIONAL_GRAFT,
        TRANSPLANT,
        ADJUSTERS,
    ),
}

# Names of columns of factors that CMS changed in its 2027 packages, in the spelling of 2026.
RENAMED = {
    "NEW_ENROLLEE": "NE",
    "SNP_NEW_ENROLLEE": "NE_SNP",
    "GRAFT_COMM_ND_PBD_GE65": "G_COMM_ND_PBD_GE65",
    "GRAFT_COMM_ND_PBD_LT65": "G_COMM_ND_PBD_LT65",
    "GRAFT_COMM_FBD_GE65": "G_COMM_FBD_GE65",
    "GRAFT_COMM_FBD_LT65": "G_COMM_FBD_LT65",
    "CE_NonLowAged": "CE_NonLow_Aged",
    "CE_NonLowNonAged": "CE_NonLow_NonAged",
    "CE_LowAged": "CE_Low_Aged",
    "CE_LowNonAged": "CE_Low_NonAged",
}

DISABLED = ("age < 65", "orec in (1, 2, 3)")
# A member of 64 whose original entitlement is old age is 65 to the new-enrollee cells: (ages,
# OREC).
TURNS_65, STAYS_64 = "orec = 0", "orec in (1, 2, 3)"

# Facts that interactions and rules refer to. DISABL is under 65 and originally entitled by
# disability or ESRD; NonAged is age alone (V24 and later ESRD, RxHCC).
FACTS = {
    "DISABL": joined(*DISABLED),
    "NonAged": "age < 65",
    "Aged": "age >= 65",
}


def _demographics() -> Iterator[tuple[str, str]]:
    """Scored member variables of the continuing-enrollee tables, and when each is set.

    In ESRD V21 the names MCAID_*_Aged and MCAID_*_NonAged mean not disabled and disabled (E2123P1M:
    MCAID times 1 - DISABL), so that a member under 65 with OREC 0 is "Aged". In ESRD V24 the same
    words mean age alone.
    """
    yield "ORIGDIS", "age >= 65 and orec = 1"
    yield "LTIMCAID", "medicaid"
    yield "MCAID", "medicaid"
    yield "OD65", "age >= 65 and orec = 1"
    for age, ages in (("Aged", "age >= 65"), ("NonAged", "age < 65")):
        yield f"LTI_{age}", joined(ages, "institutional")
    for word, sex in (("Female", "sex = female"), ("Male", "sex = male")):
        yield f"OriginallyDisabled_{word}", joined("age >= 65", sex, "orec = 1")
        yield f"Originally_ESRD_{word}", joined("age >= 65", sex, "orec in (2, 3)")
        yield f"{word[0]}65OD", joined("age >= 65", sex, "orec = 1")
        yield f"MCAID_{word}_Aged", joined("(age >= 65 or orec = 0)", sex, "medicaid")
        yield f"MCAID_{word}_NonAged", joined(DISABLED[0], sex, DISABLED[1], "medicaid")
        for age, ages in (("Aged", "age >= 65"), ("NonAged", "age < 65")):
            yield f"FBDual_{word}_{age}", joined(ages, sex, "dual_status = full")
            yield f"PBDual_{word}_{age}", joined(ages, sex, "dual_status = partial")


DEMOGRAPHICS = dict(_demographics())

# The first and second word of a new-enrollee row and the fact that each stands for (None: nothing
# to test).
_NE_MEDICAID = {"MCAID": ("NEMCAID", True), "NMCAID": ("NEMCAID", False)}
_NE_ESRD = {"ESRD": ("ESRD", True), "NESRD": ("ESRD", False)}
_NE_DUAL = {"FBD": ("FBDual", True), "ND_PBD": ("FBDual", False)}
NE_STATUS = {**_NE_MEDICAID, **_NE_ESRD, **_NE_DUAL}
STATUS_FACTS = {
    "NEMCAID": "new_enrollee_medicaid",
    "ESRD": "esrd",
    "FBDual": "dual_status = full",
}

_CELL = re.compile(r"(?P<sex>[FM])(?P<low>\d+)(?:_(?P<high>\d+|GT))?")
_NE_ROW = re.compile(
    r"(?P<status>MCAID|NMCAID|ESRD|NESRD|FBD|ND_PBD)_(?P<origin>ORIGDIS|NORIGDIS)_"
    rf"(?P<place>G_NE|NE|X_)(?P<cell>{_CELL.pattern})"
)
_COUNT = re.compile(r"D(\d+)(P?)")
_DURATION = re.compile(
    r"(?P<institutional>FGI_)?(?:(?P<g>GE65|LT65)_(?P<dur>DUR4_9|DUR10PL)_(?P<dual>ND_PBD|FBD)"
    r"|(?P<dur21>DUR4_9|DUR10PL)_(?P<g21>GE65|LT65)"
    r"|PBD_(?P<gflag>GE65|LT65)_flag"
    r"|LTI_(?P<glti>GE65|LT65))"
)
PAYMENT_HCCS = "payment_hccs"
AGE_GROUPS = {"GE65": "Aged", "LT65": "NonAged"}


def build(source: Path, entry: Entry, *, model: str, year: int) -> ModelFolder:
    """The model folder of a release of one of the Medicare families.

    Raises
    ------
    TableError
        For anything in the release that is not understood.
    """
    program = entry.model["program"]
    package = read_package(source, KINDS[program], model=model, year=year)
    folder = ModelFolder(
        model=model,
        year=year,
        title=f"{entry.model['title']}, payment year {year}",
        program=program,
        hierarchy_mode="sequential" if year <= catalogue()["sas_programs_through"] else "initial",
        age_as_of="02-01",
        notes=entry.notes,
        include=dict(entry.year.get("include", {})),
        applies_with=dict(entry.model.get("applies_with", {})),
        sources=[
            entry.source(file, TABLES[file.kind], package)
            for kind in TABLES
            if kind in package
            for file in (package[kind],)
        ],
    )
    _Builder(package, entry, folder).run()
    return folder


class _Builder:
    """Turns the files of one package into the tables of one folder."""

    def __init__(self, package: Package, entry: Entry, folder: ModelFolder) -> None:
        self.package = package
        self.entry = entry
        self.folder = folder
        self.program = folder.program
        self.prefix = "RXHCC" if folder.program == "rxhcc" else "HCC"
        self.categories: dict[str, list[str]] = {}
        self.ce_rows: dict[str, SourceRow] = {}
        self.ce_columns: dict[str, str] = {}
        self.groups: set[str] = set()

    def run(self) -> None:
        self._read_categories()
        self._read_ce()
        self._segments()
        self._ce_facts()
        if self.program == "esrd":
            self._new_enrollees(NE_DIALYSIS, {"DIAL_NE": ["DIAL_NE"]})
            ne_graft = [row[0] for row in self.folder.segments if row[0].startswith("GRAFT_NE_")]
            self._new_enrollees(NE_GRAFT, {"GRAFT_NE": ne_graft})
        elif self.program == "rxhcc":
            names = ("NE_NonLow_Community", "NE_Low_Community", "NE_LTI")
            self._new_enrollees(NE, {name: [name] for name in names})
        else:
            self._new_enrollees(NE, {"NE": ["NE"], "NE_SNP": ["NE_SNP"]})
        self._write_categories()
        self._codes()
        if self.program == "rxhcc":
            self._age_interactions()
        else:
            self._diagnosis_groups()
            self._interactions()
        self._counts()
        self._recodes()
        self._refuse_leftovers()
        if self.program == "esrd":
            self._graft_durations()
            self._transplants()

    # ---------------------------------------------------------------- categories and hierarchy

    def _category(self, row: SourceRow, column: str) -> str:
        """A category as `HCC35` or `RXHCC5`, from `HCC35`, `35` or `35.0`."""
        match = re.fullmatch(r"(?i)(?:rx)?(?:hcc)?(\d+)(?:\.0*)?", row.need(column))
        if match is None:
            raise row.fault(column, f"{row[column]!r} is not a category")
        return f"{self.prefix}{int(match[1])}"

    def _read_categories(self) -> None:
        """Categories in the order of the hierarchy table, each with the ones it drops."""
        file = self.package[HIERARCHY]
        first = "RXHCC" if self.program == "rxhcc" else "HCC"
        file.expect((first,), families=("SecondaryHCC_", "SecondaryRxHCC_"))
        for row in file.rows():
            name = self._category(row, first)
            if name in self.categories:
                raise row.fault(first, f"{name} has two rows")
            columns = [column for column in file.header if column != first and row[column]]
            self.categories[name] = [self._category(row, column) for column in columns]
            for column, child in zip(columns, self.categories[name], strict=True):
                if self.categories[name].count(child) > 1 or child == name:
                    raise row.fault(column, f"{name} drops {child} twice, or itself")
        for row in file.rows():
            for column in file.header:
                if row[column] and self._category(row, column) not in self.categories:
                    raise row.fault(column, f"{row[column]} has no row of its own")

    def _write_categories(self) -> None:
        unreported = set(self.entry.model.get("unreported", ()))
        for name, children in self.categories.items():
            row = self.ce_rows.pop(name, None)
            if row is None:
                raise TableError(f"{name} has no row of factors", self.package[CE].path)
            number = name.removeprefix(self.prefix)
            self.folder.add_variable(name, "category", "" if name in unreported else number, row["Label"])
            self._ce_factors(name, row, "CMS's table of factors has a row for it, without a factor")
            self.folder.hierarchy += [(name, child) for child in children]
        accepted = self.entry.model.get("accepted", {}).get("intransitive_hierarchy", {})
        for parent, children in self.categories.items():
            for child in children:
                for grandchild in self.categories[child]:
                    triple = f"{parent} {child} {grandchild}"
                    if grandchild not in children and triple in accepted:
                        self.folder.accept("intransitive_hierarchy", triple, accepted[triple])

    def _codes(self) -> None:
        """Codes to categories, with all edits by age and sex in one condition.

        A row of CMS's table counts if all its conditions hold, a category is set if any row counts;
        the MCE edits hold for every category of a code (CMS's packages; SAS edit macros V28I0ED1
        and its like).
        """
        file = self.package[CODES]
        ages, sex = ("MCE_AGE_CONDITION", "AGE_EDIT_CONDITION"), "SEX_EDIT_CONDITION"
        file.expect(("ICD10", "CC"), (*ages, sex))
        only_sex = self._sex_edits()
        regions: dict[tuple[str, str], Region] = {}
        for row in file.rows():
            code = row.need("ICD10")
            if re.fullmatch(r"[0-9A-Z]+", code) is None:
                raise row.fault("ICD10", f"{code!r} is not a code (upper case, no dots)")
            category = self.prefix + row.whole_number("CC")
            if category not in self.categories:
                raise row.fault("CC", f"{category} has no row in {self.package[HIERARCHY].name}")
            region = only_sex.get(code, Region.of())
            for column in ages:
                interval = parse_ages(row[column])
                if interval is None:
                    raise row.fault(column, f"{row[column]!r} is not a condition on age")
                region &= Region.of(*interval)
            if row[sex]:
                region &= Region.of(sexes=[self._sex(row, sex)])
            regions[code, category] = regions.get((code, category), Region()) | region
        for (code, category), region in regions.items():
            self.folder.codes += [("icd10cm", code, category, condition) for condition in region.conditions()]

    def _sex_edits(self) -> dict[str, Region]:
        """The Medicare Code Editor's sex edit: codes that count for one sex alone (CMS's SAS programs)."""
        if SEX_EDITS not in self.package:
            return {}
        file = self.package[SEX_EDITS]
        file.expect(("ICD10", "SEX"))
        edits: dict[str, Region] = {}
        for row in file.rows():
            if row.need("ICD10") in edits:
                raise row.fault("ICD10", f"{row['ICD10']} is there twice")
            edits[row["ICD10"]] = Region.of(sexes=[self._sex(row, "SEX")])
        return edits

    @staticmethod
    def _sex(row: SourceRow, column: str) -> str:
        number = row.whole_number(column)
        if number not in CMS_SEXES:
            raise row.fault(column, f"{row[column]!r} is not a sex (1 male, 2 female)")
        return CMS_SEXES[number]

    # ---------------------------------------------------------------- continuing enrollees

    def _factor_columns(self, file: SourceFile, label: str = "Label") -> dict[str, str]:
        """Columns of factors: name in the spelling of 2026 to name in the file."""
        columns = {RENAMED.get(name, name): name for name in file.header[2:]}
        file.expect(("Variable", label, *columns.values()))
        if file.header[:2] != ("Variable", label):
            raise TableError(f"the columns must begin with Variable and {label}", file.path, 1)
        return columns

    def _read_ce(self) -> None:
        file = self.package[CE]
        self.ce_columns = self._factor_columns(file)
        for row in file.rows():
            name = row.need("Variable")
            if name in self.ce_rows:
                raise row.fault("Variable", f"{name} has two rows")
            if re.fullmatch(r"\w+", name) is None:
                raise row.fault("Variable", f"{name!r} is not a name")
            self.ce_rows[name] = row

    def _ce_factors(self, name: str, row: SourceRow, blank_reason: str) -> None:
        """Copy a row of factors into the segments that each column belongs to."""
        blank = True
        for column, spelled in self.ce_columns.items():
            factor = row.factor(spelled)
            blank = blank and not factor
            for segment in self.ce_segments[column]:
                self.folder.add_coefficient(name, segment, factor)
        if blank:
            self.folder.accept("no_effect", name, blank_reason)

    def _ce_facts(self) -> None:
        """Age/sex cells and the other demographic rows of the continuing-enrollee table."""
        for name, row in list(self.ce_rows.items()):
            if cell := _CELL.fullmatch(name):
                condition = joined(age_condition(*_band(cell)), _sex_of(cell))
                self.folder.add_flag(
                    name, condition, partition="ce_cell", kind="demographic", label=row["Label"]
                )
            elif name in DEMOGRAPHICS:
                self.folder.add_flag(name, DEMOGRAPHICS[name], kind="demographic", label=row["Label"])
            else:
                continue
            self._ce_factors(name, self.ce_rows.pop(name), "CMS's table has a row without a factor")

    def _refuse_leftovers(self) -> None:
        for row in self.ce_rows.values():
            raise row.fault(
                "Variable",
                f"{row['Variable']!r} is not understood: no category, cell, interaction, count or known fact",
            )

    # ---------------------------------------------------------------- new enrollees

    def _new_enrollees(self, kind: str, targets: Mapping[str, list[str]]) -> None:
        """The rows of a new-enrollee table: exactly one applies to a member.

        Notes
        -----
        Age 64 with OREC 0 is 65 to the cells alone. Originally disabled means OREC 1 from 65 on,
        but OREC 1 at any age for ESRD dialysis, whose cells are five-year bands up to 85 (SAS
        E2423T1M, E2123P1M).
        """
        file = self.package[kind]
        label = "New Enrollees" if "New Enrollees" in file.header else "Label"
        columns = self._factor_columns(file, label)
        _same_columns(file, columns, targets)
        dialysis = kind == NE_DIALYSIS
        origin, at = ("NE_ORIGDIS_DIAL", "orec = 1") if dialysis else ("NE_ORIGDIS", "age >= 65 and orec = 1")
        partition = {NE: "ne_cell", NE_DIALYSIS: "ne_dialysis_cell", NE_GRAFT: "ne_graft_cell"}[kind]
        seen: dict[str, re.Match[str]] = {}
        for row in file.rows():
            name = row.need("Variable")
            match = _NE_ROW.fullmatch(name)
            if match is None:
                raise row.fault("Variable", f"{name!r} is not understood as a new-enrollee row")
            if name in self.folder.variables:
                raise row.fault("Variable", f"{name} is there twice")
            seen[name] = match
            fact, wanted = NE_STATUS[match["status"]]
            disabled = match["origin"] == "ORIGDIS"
            cell_name = ("G_NE" if match["place"] == "G_NE" else "NE") + match["cell"]
            self.folder.add_flag(fact, STATUS_FACTS[fact])
            self.folder.add_flag(origin, at)
            self.folder.add_flag(cell_name, *_new_enrollee_cell(match), partition=partition)
            self.folder.add_variable(name, "demographic", label=row[label])
            tests = {fact: wanted, origin: disabled}
            self.folder.add_rule(
                "member",
                name,
                when=" ".join([*(word for word, yes in tests.items() if yes), cell_name]),
                unless=" ".join(word for word, yes in tests.items() if not yes),
            )
            for column, segments in targets.items():
                for segment in segments:
                    self.folder.add_coefficient(name, segment, row.factor(columns[column]))
        self._check_complete(file, seen, dialysis)

    @staticmethod
    def _check_complete(file: SourceFile, rows: Mapping[str, re.Match[str]], dialysis: bool) -> None:
        """Every member has a row: each cell with each status, and originally disabled where that can be."""
        statuses = dict.fromkeys(match["status"] for match in rows.values())
        if len({NE_STATUS[status][0] for status in statuses}) != 1 or len(statuses) != 2:
            raise TableError(
                f"a status and its opposite are needed, not {', '.join(statuses)}",
                file.path,
                column="Variable",
            )
        for match in rows.values():
            origins = ["NORIGDIS", *(["ORIGDIS"] if dialysis or int(match["low"]) >= 65 else [])]
            for status in statuses:
                for origin in origins:
                    name = f"{status}_{origin}_{match['place']}{match['cell']}"
                    if name not in rows:
                        raise TableError(f"there is no row {name}", file.path, column="Variable")

    # ---------------------------------------------------------------- groups, interactions, counts, recodes

    def _operand(self, row: SourceRow, column: str) -> str:
        name = row.need(column)
        if name in FACTS and name not in self.folder.variables:
            self.folder.add_flag(name, FACTS[name])
        if name not in self.folder.variables and name not in self.groups:
            raise row.fault(column, f"unknown name {name!r}")
        return name

    def _diagnosis_groups(self) -> None:
        file = self.package[GROUPS]
        file.expect(("diag_category",), families=("hcc_",))
        for row in file.rows():
            name = row.need("diag_category")
            if name in self.groups or name in self.folder.variables:
                raise row.fault("diag_category", f"{name} is there twice")
            members = [column for column in file.header if column != "diag_category" and row[column]]
            if not members:
                raise row.fault("diag_category", f"{name} has no category")
            self.groups.add(name)
            for column in members:
                member = self._category(row, column)
                if member not in self.categories:
                    raise row.fault(column, f"{row[column]} is not a category of the hierarchy table")
                self.folder.groups.append((name, member))

    def _interactions(self) -> None:
        """Products of two variables, in table order, because one can be an operand of a later one."""
        file = self.package[INTERACTIONS]
        file.expect(("interaction",), families=("var_",))
        for row in file.rows():
            name = row.need("interaction")
            if name in self.folder.variables or name in self.groups:
                raise row.fault("interaction", f"{name} is there twice")
            operands = [self._operand(row, column) for column in file.header[1:] if row[column]]
            if len(operands) < 2:
                raise row.fault("var_2", f"{name} is no product of two variables")
            self._interaction(name, operands, self.ce_rows.pop(name, None))

    def _age_interactions(self) -> None:
        """RxHCC has no table of them: NONAGED_RXHCC130 is age under 65 with RXHCC130 (R0823T1M)."""
        for name in list(self.ce_rows):
            match = re.fullmatch(r"NONAGED_(RXHCC\d+)", name)
            if match and match[1] in self.categories:
                self.folder.add_flag("NonAged", FACTS["NonAged"])
                self._interaction(name, ["NonAged", match[1]], self.ce_rows.pop(name))

    def _interaction(self, name: str, operands: list[str], row: SourceRow | None) -> None:
        self.folder.add_variable(name, "interaction", label="" if row is None else row["Label"])
        self.folder.add_rule("after", name, when=" ".join(operands))
        if row is not None:
            self._ce_factors(name, row, "CMS's table of factors has a row for it, without a factor")
        else:
            self.folder.coefficients[name] = {}
            self.folder.accept(
                "no_effect", name, "in CMS's table of interactions, but not in its table of factors"
            )

    def _counts(self) -> None:
        """Payment HCC counts: D1 to D9 exactly so many categories after the hierarchies, D10P ten or more."""
        counts: list[str] = []
        for name, row in list(self.ce_rows.items()):
            match = _COUNT.fullmatch(name)
            if match is None:
                continue
            if PAYMENT_HCCS not in self.groups:
                self.groups.add(PAYMENT_HCCS)
                self.folder.groups += [(PAYMENT_HCCS, category) for category in self.categories]
            count = int(match[1])
            self.folder.add_variable(name, "count", label=row["Label"])
            high = None if match[2] else count
            self.folder.add_rule("after", name, count_of=PAYMENT_HCCS, low=count, high=high)
            self._ce_factors(name, self.ce_rows.pop(name), "CMS's table has a row without a factor")
            counts.append(name)
        if counts and counts != [*(f"D{n}" for n in range(1, len(counts))), f"D{len(counts)}P"]:
            raise TableError(
                f"the counts are {', '.join(counts)}: there is a gap, or no open end",
                self.package[CE].path,
                column="Variable",
            )

    def _recodes(self) -> None:
        """What the model's program clears before the hierarchies (the catalogue's `recodes`)."""
        known = {*self.folder.variables, *self.groups}
        for recode in self.entry.model.get("recodes", ()):
            for key in ("when", "unless", "clears"):
                for name in recode.get(key, "").split():
                    if name not in known:
                        raise TableError(
                            f"a recode of {self.folder.model} names {name}, which the release does not have",
                            "sources.toml",
                            column=key,
                        )
            self.folder.add_rule(
                "before",
                "",
                when=recode["when"],
                unless=recode.get("unless", ""),
                clears=recode["clears"],
            )

    # ---------------------------------------------------------------- ESRD scores beside the tables of factors

    def _scores(self, kind: str, first: str) -> Iterator[tuple[str, SourceRow]]:
        """Name and row of a table of single scores."""
        file = self.package[kind]
        file.expect((first, "Label", "Score"))
        seen = set()
        for row in file.rows():
            name = row.need(first)
            if name in seen:
                raise row.fault(first, f"{name} is there twice")
            seen.add(name)
            row.need("Score")
            yield name, row

    def _member_term(
        self, name: str, kind: str, row: SourceRow, segments: list[str], when: str, unless: str = ""
    ) -> None:
        """A scored variable that member facts alone set, with one score in some segments."""
        self.folder.add_variable(name, kind, label=row["Label"])
        self.folder.add_rule("member", name, when=when, unless=unless)
        for segment in segments:
            self.folder.add_coefficient(name, segment, row.factor("Score"))

    def _graft_durations(self) -> None:
        """Time since the graft, partial dual and institutional terms of the functioning-graft scores.

        Notes
        -----
        Each is added only if the member is in the age group of its name. Continuing enrollees go by
        age; new enrollees by NE_Aged, where 64 with OREC 0 is 65, and in V24 by their own dual
        group, without the partial-dual flag. V21 has one set of four scores for all (SAS E2423T1M,
        E2123P1M).
        """
        for group, fact in AGE_GROUPS.items():
            self.folder.add_flag(fact, FACTS[fact])
            ages = ("age >= 65", f"age = 64 and {TURNS_65}")
            if group == "LT65":
                ages = ("age < 64", f"age = 64 and {STAYS_64}")
            self.folder.add_flag(f"NE_{fact}", *ages, partition="ne_age_group")
        segments = [row[0] for row in self.folder.segments]
        used: set[str] = set()
        kinds = [DURATION, *([INSTITUTIONAL_GRAFT] if INSTITUTIONAL_GRAFT in self.package else [])]
        for kind in kinds:
            institutional = kind == INSTITUTIONAL_GRAFT
            for name, row in self._scores(kind, "Graft Duration"):
                match = _DURATION.fullmatch(name)
                if match is None or institutional != bool(match["institutional"] or match["glti"]):
                    raise row.fault("Graft Duration", f"{name!r} is not understood")
                used |= self._graft_duration(name, row, match, segments, institutional)
        for segment in segments:
            if "DUR" in segment and segment not in used:
                raise TableError(
                    f"no duration score for {segment}",
                    self.package[DURATION].path,
                    None,
                    "Graft Duration",
                )

    def _graft_duration(
        self,
        name: str,
        row: SourceRow,
        match: re.Match[str],
        segments: list[str],
        institutional: bool,
    ) -> set[str]:
        """Write one row; the segments whose duration it gives."""
        duration = match["dur"] or match["dur21"]
        group = match["g"] or match["g21"] or match["gflag"] or match["glti"]
        fact = AGE_GROUPS[group]
        in_group = [segment for segment in segments if group in segment]
        place = "GRAFT_INST_" if institutional else "G_COMM_"
        if match["gflag"]:
            self.folder.add_flag("PBDual", "dual_status = partial")
            chosen = [s for s in in_group if s.startswith(f"{place}ND_PBD_")]
            self._member_term(name, "demographic", row, chosen, f"{fact} PBDual")
            return set()
        if match["glti"]:
            self.folder.add_flag("LTI", "institutional")
            chosen = [s for s in in_group if s.startswith("GRAFT_INST_")]
            self._member_term(name, "demographic", row, chosen, f"{fact} LTI")
            return set()
        of_new = [s for s in in_group if s.startswith("GRAFT_NE_") and duration in s]
        of_others = [s for s in in_group if s not in of_new and duration in s]
        when, unless = f"NE_{fact}", ""
        if match["dual"]:
            of_others = [s for s in of_others if s.startswith(f"{place}{match['dual']}_")]
            of_new = [s for s in of_new if s.endswith(f"_{match['dual']}") and not institutional]
            when, unless = (f"{when} FBDual", "") if match["dual"] == "FBD" else (when, "FBDual")
        self._member_term(name, "duration", row, of_others, fact)
        if of_new:
            self._member_term(f"NE_{name}", "duration", row, of_new, when, unless)
        return {*of_others, *of_new}

    def _transplants(self) -> None:
        """Kidney transplant, months 1 to 3: the same score for everybody."""
        self.folder.add_flag("EVERYONE", "")
        for name, row in self._scores(TRANSPLANT, "Variable"):
            if name not in {segment[0] for segment in self.folder.segments}:
                raise row.fault("Variable", f"{name!r} is not understood")
            self._member_term(name, "term", row, [name], "EVERYONE")
        for segment, *_ in self.folder.segments:
            if segment.startswith("TRANSPLANT_") and segment not in self.folder.variables:
                raise TableError(f"no score for {segment}", self.package[TRANSPLANT].path)

    # ---------------------------------------------------------------- segments

    def _segments(self) -> None:
        """The decision table in CMS's order of scores; conditions exclude each other."""
        columns = list(self.ce_columns)
        if self.program == "cms_hcc":
            rows, self.ce_segments = _cms_hcc_segments()
        elif self.program == "rxhcc":
            rows, self.ce_segments = _rxhcc_segments()
        elif "GRAFT_COMM" in columns:
            rows, self.ce_segments = _esrd_segments()
        else:
            rows, self.ce_segments = _esrd_dual_segments(self._adjusters())
        _same_columns(self.package[CE], columns, self.ce_segments)
        self.folder.segments = [
            (name, condition, reason, f"SCORE_{name}", divisor) for name, condition, reason, divisor in rows
        ]

    def _adjusters(self) -> dict[str, str]:
        """Divisors of the new-enrollee graft scores: coefficients in SAS, constants in Python."""
        if ADJUSTERS not in self.package:
            given: dict[str, str] = self.entry.model.get("graft_ne_divisors", {})
            if set(given) != {"DUR4_9", "DUR10PL"}:
                raise TableError(
                    f"the release has no {ADJUSTERS}.csv and the catalogue gives no graft_ne_divisors",
                    self.package.source,
                )
            self.folder.notes.append(
                "The divisors of the new-enrollee graft scores are those of the catalogue; the release's "
                "tables do not hold them."
            )
            return given
        found = {}
        for name, row in self._scores(ADJUSTERS, "Variable"):
            match = re.fullmatch(r"ActAdj_(DUR4_9|DUR10PL)", name)
            if match is None:
                raise row.fault("Variable", f"{name!r} is not understood")
            found[match[1]] = row.factor("Score")
        for duration in ("DUR4_9", "DUR10PL"):
            if duration not in found:
                raise TableError(f"no row ActAdj_{duration}", self.package[ADJUSTERS].path)
        return found


def _same_columns(file: SourceFile, found: Iterable[str], wanted: Iterable[str]) -> None:
    """Refuse a file whose columns of factors are not exactly the scores that are understood."""
    if wrong := sorted(set(found) - set(wanted)) or sorted(set(wanted) - set(found)):
        raise TableError(
            f"the columns of factors are {', '.join(found)}, but those understood are {', '.join(wanted)}",
            file.path,
            1,
            wrong[0],
        )


# -------------------------------------------------------------------- cells


def _band(cell: re.Match[str]) -> tuple[int, int | None]:
    """Ages of a cell such as F35_44, F95_GT or F66."""
    low = int(cell["low"])
    if cell["high"] is None:
        return low, low
    return low, None if cell["high"] == "GT" else int(cell["high"])


def _sex_of(cell: re.Match[str]) -> str:
    return "sex = female" if cell["sex"] == "F" else "sex = male"


def _new_enrollee_cell(cell: re.Match[str]) -> list[str]:
    """Conditions of a new-enrollee cell, with the members of 64 who count as 65."""
    low, high = _band(cell)
    sex = _sex_of(cell)
    if high == 64:
        return [joined(age_condition(low, 63), sex), joined("age = 64", sex, STAYS_64)]
    if low == 65:
        return [joined(age_condition(low, high), sex), joined("age = 64", sex, TURNS_65)]
    return [joined(age_condition(low, high), sex)]


# -------------------------------------------------------------------- who gets which score

_Rows = list[tuple[str, str, str, str]]
_Columns = dict[str, list[str]]

_AGED = (("A", "age >= 65", "65 or over"), ("D", "age < 65", "under 65"))
_DUALS = (
    ("N", "dual_status = none", "no Medicaid"),
    ("PB", "dual_status = partial", "partial-benefit dual"),
    ("FB", "dual_status = full", "full-benefit dual"),
)
_GROUPS = {"GE65": ("age >= 65", "65 or over"), "LT65": ("age < 65", "under 65")}
# New enrollees: 64 with OREC 0 counts as 65 (NE_Aged).
_NE_GROUPS = {
    "GE65": (f"(age >= 65 or age = 64 and {TURNS_65})", "65 or over (64 with OREC 0 counts as 65)"),
    "LT65": (f"(age < 64 or age = 64 and {STAYS_64})", "under 65 (64 with OREC 0 counts as 65)"),
}
_DURATIONS = {
    "DUR4_9": ("4 <= months_since_graft <= 9", "4 to 9 months since the transplant"),
    "DUR10PL": ("months_since_graft >= 10", "10 months or more since the transplant"),
}
_DUAL_GROUPS = {
    "ND_PBD": ("dual_status in (none, partial)", "not a full-benefit dual"),
    "FBD": ("dual_status = full", "full-benefit dual"),
}
_CONTINUING, _NEW = "not new_enrollee", "new_enrollee"
_COMMUNITY, _INSTITUTION = "not institutional", "institutional"


def _cms_hcc_segments() -> tuple[_Rows, _Columns]:
    rows: _Rows = []
    for age, ages, age_words in _AGED:
        for dual, status, dual_words in _DUALS:
            rows.append(
                (
                    f"COMMUNITY_{dual}{age}",
                    joined(ages, status, _COMMUNITY, _CONTINUING),
                    f"continuing enrollee in the community, {dual_words}, {age_words}",
                    "",
                )
            )
    rows.append(
        (
            "INSTITUTIONAL",
            joined(_INSTITUTION, _CONTINUING),
            "continuing enrollee in a long-term institution",
            "",
        )
    )
    columns = {row[0]: [row[0]] for row in rows}
    rows.append(("NE", joined(_NEW, "not c_snp"), "new enrollee", ""))
    rows.append(
        (
            "NE_SNP",
            joined(_NEW, "c_snp"),
            "new enrollee in a chronic condition special needs plan",
            "",
        )
    )
    return rows, columns


def _rxhcc_segments() -> tuple[_Rows, _Columns]:
    incomes = (
        ("NonLow", "not low_income", "without low-income subsidy"),
        ("Low", "low_income", "with low-income subsidy"),
    )
    rows: _Rows = []
    for income, incomes_are, income_words in incomes:
        for group, ages, age_words in (
            ("Aged", "age >= 65", "65 or over"),
            ("NonAged", "age < 65", "under 65"),
        ):
            rows.append(
                (
                    f"CE_{income}_{group}",
                    joined(ages, incomes_are, _COMMUNITY, _CONTINUING),
                    f"continuing enrollee in the community, {income_words}, {age_words}",
                    "",
                )
            )
    rows.append(
        (
            "CE_LTI",
            joined(_INSTITUTION, _CONTINUING),
            "continuing enrollee in a long-term institution",
            "",
        )
    )
    columns = {row[0]: [row[0]] for row in rows}
    for income, incomes_are, income_words in incomes:
        rows.append(
            (
                f"NE_{income}_Community",
                joined(incomes_are, _COMMUNITY, _NEW),
                f"new enrollee in the community, {income_words}",
                "",
            )
        )
    rows.append(("NE_LTI", joined(_INSTITUTION, _NEW), "new enrollee in a long-term institution", ""))
    return rows, columns


def _dialysis_segments() -> _Rows:
    status = "esrd_status = dialysis"
    return [
        ("DIAL", joined(status, _CONTINUING), "continuing enrollee on dialysis", ""),
        ("DIAL_NE", joined(status, _NEW), "new enrollee on dialysis", ""),
    ]


def _transplant_segments() -> _Rows:
    return [
        (
            f"TRANSPLANT_KIDNEY_ONLY_{month}M",
            f"esrd_status = transplant and months_since_graft = {month}",
            f"kidney transplant, month {month}",
            "",
        )
        for month in (1, 2, 3)
    ]


def _graft(place: str, group: str, duration: str, dual: str = "") -> tuple[str, str]:
    """Condition and reason of a functioning-graft score."""
    where, words = {
        "COMM": (joined(_COMMUNITY, _CONTINUING), "continuing enrollee in the community"),
        "INST": (
            joined(_INSTITUTION, _CONTINUING),
            "continuing enrollee in a long-term institution",
        ),
        "NE": (_NEW, "new enrollee"),
    }[place]
    ages, age_words = (_NE_GROUPS if place == "NE" else _GROUPS)[group]
    months, month_words = _DURATIONS[duration]
    status, dual_words = _DUAL_GROUPS[dual] if dual else ("", "")
    reason = ", ".join(
        part for part in (f"functioning graft, {month_words}", words, dual_words, age_words) if part
    )
    return joined(ages, "esrd_status = graft", months, status, where), reason


def _esrd_segments() -> tuple[_Rows, _Columns]:
    """ESRD V21: scores in the order of CMS's output."""
    rows = _dialysis_segments()
    columns: _Columns = {"DIAL": ["DIAL"], "GRAFT_COMM": [], "GRAFT_INST": []}
    for place in ("COMM", "INST", "NE"):
        for duration in _DURATIONS:
            for group in ("LT65", "GE65"):
                name = f"GRAFT_{place}_{duration}_{group}"
                rows.append((name, *_graft(place, group, duration), ""))
                columns.get(f"GRAFT_{place}", []).append(name)
    return rows + _transplant_segments(), columns


def _esrd_dual_segments(divisors: Mapping[str, str]) -> tuple[_Rows, _Columns]:
    """ESRD V24: graft scores also by dual group; those of new enrollees are divided (E2423T1M)."""
    rows = _dialysis_segments()
    columns: _Columns = {"DIAL": ["DIAL"]}
    columns |= {f"G_COMM_{dual}_{group}": [] for dual in _DUAL_GROUPS for group in _GROUPS}
    columns["GRAFT_INST"] = []
    for dual in _DUAL_GROUPS:
        for group in _GROUPS:
            for duration in _DURATIONS:
                community = f"G_COMM_{dual}_{group}_{duration}"
                rows.append((community, *_graft("COMM", group, duration, dual), ""))
                columns[f"G_COMM_{dual}_{group}"].append(community)
                institution = f"GRAFT_INST_{dual}_{group}_{duration}"
                rows.append((institution, *_graft("INST", group, duration, dual), ""))
                columns["GRAFT_INST"].append(institution)
                new = f"GRAFT_NE_{group}_{duration}_{dual}"
                rows.append((new, *_graft("NE", group, duration, dual), divisors[duration]))
    return rows + _transplant_segments(), columns
