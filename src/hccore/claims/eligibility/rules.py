"""The rules of one program, year and run, read from `hcc_mappings/eligibility`."""

from __future__ import annotations

import csv
import datetime
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hccore.base.errors import InputError, TableError
from hccore.tables.folders import mappings_root

# Values that a policy can have. The tables give the value of each program and year; a what-if changes it by name.
POLICY_VALUES = {
    "audio_only": ("exclude", "count", "flag"),
    "unlinked_chart_review": ("exclude", "count"),
    "linked_chart_review": ("own_record", "linked_claim"),
    "strict_specialty": ("off", "flag", "exclude"),
    "denied": ("keep", "drop"),
    "enrollment": ("ignore", "require"),
    "orphan_replacement": ("hold", "count"),
    "invalid_code": ("exclude", "count"),
    "uncertain_code": ("exclude", "count"),
    "admitting": ("exclude", "count"),
    "reason_for_visit": ("exclude", "count"),
    "external_cause": ("exclude", "count"),
}
_ROLE_POLICIES = ("admitting", "reason_for_visit", "external_cause")
ICD_VERSION = 10


class BillTypeRule(NamedTuple):
    """What makes a claim of one bill type (facility and classification) eligible.

    Attributes
    ----------
    frequencies : frozenset of str
        Frequency codes that count; empty: all.
    needs_line : bool
        Whether a line must have an eligible code.
    needs_discharge_status : bool
    """

    frequencies: frozenset[str]
    needs_line: bool
    needs_discharge_status: bool


class CodeList(NamedTuple):
    """Codes that make a claim eligible in one year of service: surely, and perhaps."""

    known: frozenset[str]
    uncertain: frozenset[str]
    standing: Mapping[str, int]  # number of codes by standing


class Validity(NamedTuple):
    """Days on which ICD-10-CM codes are billable.

    Attributes
    ----------
    spells : mapping of str to tuple of (first day, last day)
        Days since 1970-01-01. The last spell of a code may be open (`OPEN_DAY`).
    first_day, last_day : int
        Outside these days, codes that have no spell are not evaluable.
    """

    spells: Mapping[str, tuple[tuple[int, int], ...]]
    first_day: int
    last_day: int

    def is_invalid(self, code: str, day: int) -> bool:
        """Whether a code is surely not billable on a day."""
        if not self.first_day <= day <= self.last_day:
            return False
        return not any(first <= day <= last for first, last in self.spells.get(code, ()))


OPEN_DAY = 1 << 30


@dataclass(frozen=True)
class Rules:
    """Everything that decides which diagnoses count. Can be pickled and sent to workers.

    Attributes
    ----------
    program, year, run : str, int, str
    first_day, last_day : int
        Window of the through date, days since 1970-01-01.
    claim_types : dict of str to str
        `lines` (a line must have an eligible code) or `bill_type` (the bill type decides), by claim type.
    bill_types : dict of str to BillTypeRule
    roles : frozenset of str
        Roles of diagnoses that count.
    audio_modifiers : frozenset of str
    policies : dict of str to str
    lists : dict of int to CodeList
        By year of service. All years of the window are there.
    specialties : dict of str to bool
        Whether a Medicare specialty code is acceptable. Codes that are not there are not known.
    validity : Validity
    reasons : tuple of str
        All reasons in the order of the tests.
    edge_reasons : dict of (str, bool) to str
        HHS's reason by ours, for institutional claims (True) and others.
    model_codes : frozenset of str or None
        Codes of the model; None: not tested.
    drug_codes : dict of (str, str) to str
        By system (`ndc`, `hcpcs`) and claim type: `none`, or `bill_type` if the bill type must count. Other claims
        give no drugs. Empty: the program has no drug categories.
    model_drugs : dict of str to frozenset of str, or None
        Codes of drugs of the model by system; None: not tested.
    """

    program: str
    year: int
    run: str
    first_day: int
    last_day: int
    claim_types: Mapping[str, str]
    bill_types: Mapping[str, BillTypeRule]
    roles: frozenset[str]
    audio_modifiers: frozenset[str]
    policies: Mapping[str, str]
    lists: Mapping[int, CodeList]
    specialties: Mapping[str, bool]
    validity: Validity
    reasons: tuple[str, ...]
    edge_reasons: Mapping[tuple[str, bool], str] = field(default_factory=dict)
    model_codes: frozenset[str] | None = None
    drug_codes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    model_drugs: Mapping[str, frozenset[str]] | None = None

    @property
    def excludes_audio(self) -> bool:
        """Whether audio-only lines do not make a record eligible."""
        return self.policies["audio_only"] == "exclude"

    @property
    def drops_denied(self) -> bool:
        """Whether denied lines do not make a record eligible."""
        return self.policies["denied"] == "drop"

    @property
    def links_decide(self) -> bool:
        """Whether a linked chart review counts only with the claim that it names."""
        return self.policies["linked_chart_review"] == "linked_claim"

    @property
    def service_years(self) -> tuple[int, ...]:
        """Years of service that the window touches."""
        return tuple(sorted(self.lists))

    def edge_reason(self, reason: str, claim_type: str | None) -> str:
        """HHS's reason for one of ours; empty if HHS has none."""
        return self.edge_reasons.get((reason, claim_type in ("inpatient", "outpatient")), "")


def load_rules(
    program: str = "ma",
    year: int = 2026,
    run: str = "final",
    *,
    policies: Mapping[str, str] | None = None,
    cpt_list: Any = None,
    model: Any = None,
) -> Rules:
    """Read the rules of a program, year and run.

    Parameters
    ----------
    program : {"ma", "pace", "ffs", "hhs"}
    year : int
        Payment year; benefit year for `hhs`.
    run : str
        `initial`, `midyear` or `final`.
    policies : mapping of str to str, optional
        Values that replace those of the tables, by policy (`POLICY_VALUES`).
    cpt_list : path, iterable of str, or mapping of int to these, optional
        CMS's list of eligible codes, by year of service: a CSV file with a column `code`, or codes. Without years
        it replaces the lists that are missing or uncertain, or else all lists of the window.
    model : Model, optional
        Diagnoses that this model does not know are rejected.

    Raises
    ------
    InputError
        If there is no such program, year, run or policy, or the list of a year of service is missing.
    TableError
        If a table is damaged.
    """
    root = mappings_root() / "eligibility"
    folder = _folder(root, program, year)
    window = {row["run"]: row for row in _rows(folder / "windows.csv")}
    if run not in window:
        raise InputError(f"run must be one of {', '.join(window)} for {program} {year}, not {run!r}.")
    settings = policies_of(program, year, policies)
    roles = {row["role"]: row["counts"] == "yes" for row in _rows(folder / "roles.csv")}
    counted = {role for role, counts in roles.items() if counts} - set(_ROLE_POLICIES)
    counted |= {role for role in _ROLE_POLICIES if settings[role] == "count"}
    first, last = (datetime.date.fromisoformat(window[run][f"{end}_date"]) for end in ("first", "last"))
    reasons = _rows(root / "reasons.csv")
    return Rules(
        program=program,
        year=year,
        run=run,
        first_day=day_number(first),
        last_day=day_number(last),
        claim_types={row["claim_type"]: row["test"] for row in _rows(folder / "claim_types.csv")},
        bill_types={
            row["bill_type"]: BillTypeRule(
                frozenset(row["frequencies"].split()),
                row["test"] == "lines",
                row["discharge_status"] == "required",
            )
            for row in _rows(folder / "bill_types.csv")
        },
        roles=frozenset(counted),
        audio_modifiers=frozenset(
            row["code"]
            for row in _rows(folder / "telehealth.csv")
            if row["kind"] == "modifier" and row["treatment"] == "audio_only"
        ),
        policies=settings,
        lists=_code_lists(root, folder, range(first.year, last.year + 1), cpt_list, f"{program} {year}"),
        specialties={row["specialty"]: row["acceptable"] == "yes" for row in _rows(root / "specialties.csv")},
        validity=code_validity(),
        reasons=tuple(row["reason"] for row in reasons),
        edge_reasons=_edge_reasons(reasons) if program == "hhs" else {},
        model_codes=None if model is None else frozenset(model.tables.codes.get("icd10cm", ())),
        drug_codes=(drug_codes := _drug_codes(folder / "drug_codes.csv")),
        model_drugs=None
        if model is None
        else {system: frozenset(model.tables.codes.get(system, ())) for system, _ in drug_codes},
    )


def policies_of(program: str, year: int, changed: Mapping[str, str] | None = None) -> dict[str, str]:
    """The policies of a program and year by name, with the user's own values instead of those of the tables.

    Raises
    ------
    InputError
        If there is no such program, year or policy, or a policy cannot have a value.
    """
    folder = _folder(mappings_root() / "eligibility", program, year)
    settings = {row["policy"]: row["value"] for row in _rows(folder / "policies.csv")}
    roles = {row["role"]: row["counts"] == "yes" for row in _rows(folder / "roles.csv")}
    settings |= {role: "count" if roles.get(role) else "exclude" for role in _ROLE_POLICIES}
    return settings | _checked_policies(changed or {})


def day_number(date: datetime.date) -> int:
    """Days since 1970-01-01."""
    return (date - datetime.date(1970, 1, 1)).days


def _folder(root: Path, program: str, year: int) -> Path:
    programs = sorted({path.parent.parent.name for path in root.glob("*/*/windows.csv")})
    if program not in programs:
        raise InputError(f"program must be one of {', '.join(programs)}, not {program!r}.")
    years = sorted(path.parent.name for path in (root / program).glob("*/windows.csv"))
    if str(year) not in years:
        raise InputError(
            f"there are no eligibility rules of {program} for {year!r}. They exist for {years[0]} to {years[-1]}."
        )
    return root / program / str(year)


def _drug_codes(path: Path) -> dict[tuple[str, str], str]:
    """Which claims give drugs. Programs without drug categories lack the table."""
    rows = _rows(path) if path.exists() else []
    return {(row["system"], row["claim_type"]): row["test"] for row in rows}


def _checked_policies(policies: Mapping[str, str]) -> dict[str, str]:
    for name, value in policies.items():
        if name not in POLICY_VALUES:
            raise InputError(f"there is no policy {name!r}. The policies are {', '.join(POLICY_VALUES)}.")
        if value not in POLICY_VALUES[name]:
            raise InputError(f"policy {name} must be {' or '.join(POLICY_VALUES[name])}, not {value!r}.")
    return dict(policies)


def _edge_reasons(rows: Iterable[Mapping[str, str]]) -> dict[tuple[str, bool], str]:
    return {
        (row["reason"], institutional): row["edge_institutional"] or row["edge"]
        if institutional
        else row["edge"]
        for row in rows
        if row["edge"]
        for institutional in (True, False)
    }


def _code_lists(root: Path, folder: Path, years: range, given: Any, name: str) -> dict[int, CodeList]:
    """The code list of each year of service that the window touches."""
    entries = {int(row["service_year"]): row for row in _rows(folder / "code_lists.csv")}
    lists = {
        year: packaged_list(root / entries[year]["file"])
        for year in years
        if entries.get(year, {}).get("file")
    }
    if isinstance(given, Mapping):
        replaced = {int(year): _given_list(codes) for year, codes in given.items()}
    elif given is not None:
        incomplete = [year for year in years if year not in lists or lists[year].uncertain]
        replaced = dict.fromkeys(incomplete or years, _given_list(given))
    else:
        replaced = {}
    lists |= {year: codes for year, codes in replaced.items() if year in years}
    missing = [year for year in years if year not in lists]
    if missing:
        title = next(iter(entries.values()))["title"]
        raise InputError(
            f"{name}: the list of eligible codes for services of {', '.join(map(str, missing))} is not part of "
            f'hccore. Give the file "{title}" of that year as cpt_list (CSV with a column code).'
        )
    return lists


@lru_cache(maxsize=32)
def packaged_list(path: Path) -> CodeList:
    """A list of `hcc_mappings/eligibility/cpt_hcpcs` or `hhs_hcpcs`."""
    rows = _rows(path)
    standing: dict[str, int] = {}
    for row in rows:
        standing[row["standing"]] = standing.get(row["standing"], 0) + 1
    return CodeList(
        frozenset(row["code"] for row in rows if row["eligible"] == "yes"),
        frozenset(row["code"] for row in rows if row["eligible"] == "unknown"),
        standing,
    )


def _given_list(given: Any) -> CodeList:
    """A list that the user gives: a CSV file with a column `code`, or codes."""
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream)
                names = {name.strip().lower(): name for name in reader.fieldnames or ()}
                if "code" not in names:
                    raise InputError(f"cpt_list {path}: there is no column code.")
                codes = {(row[names["code"]] or "").strip().upper() for row in reader}
        except (OSError, UnicodeDecodeError, csv.Error):
            raise InputError(f"cpt_list {path} cannot be read as CSV with a column code.") from None
    else:
        codes = {str(code).strip().upper() for code in given}
    codes.discard("")
    if not codes:
        raise InputError("cpt_list holds no code.")
    return CodeList(frozenset(codes), frozenset(), {"user": len(codes)})


@lru_cache(maxsize=1)
def code_validity() -> Validity:
    """The ICD-10-CM codes by date, from `hcc_mappings/icd10cm`."""
    folder = mappings_root() / "icd10cm"
    (coverage,) = _rows(folder / "coverage.csv")
    spells: dict[str, tuple[tuple[int, int], ...]] = {}
    days: dict[str, int] = {"": OPEN_DAY}  # few distinct dates, many rows

    def day(text: str) -> int:
        if text not in days:
            days[text] = day_number(datetime.date.fromisoformat(text))
        return days[text]

    for code, billable, first, last in _cells(folder / "codes.csv"):
        if billable == "1":
            spells[code] = (*spells.get(code, ()), (day(first), day(last)))
    return Validity(spells, day(coverage["first_date"]), day(coverage["last_date"]))


def _cells(path: Path) -> list[list[str]]:
    """The rows of a table without its header, as cells: faster than `_rows` for a long table."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.reader(stream))[1:]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise TableError("this table is missing or damaged; install hccore again", path) from None


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise TableError("this table is missing or damaged; install hccore again", path) from None
