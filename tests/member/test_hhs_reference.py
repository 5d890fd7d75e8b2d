"""The reference algorithm for the HHS-HCC models against members scored by CMS's programs.

`tests/golden/hhs` holds some members of the full set, enough to reach every variable that the full set reaches.
The full set is outside the repository (`../shared/golden/hhs`) and is tested where it is present.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hccore.member.reference import (
    Trace,
    apply_multiplier,
    choose_segment,
    coefficient_of,
    multiplier_of,
    score_of,
    segments_of,
    trace_member,
)
from hccore.tables.loading import load_tables
from hccore.tables.schema import ModelTables
from tests.support_hhs import Member, days, read_members, words

ROOT = Path(__file__).resolve().parents[2]
YEARS = range(2021, 2027)
FOLDERS = {"part": ROOT / "tests" / "golden" / "hhs", "full": ROOT.parent / "shared" / "golden" / "hhs"}
SIZES = {"full": 1080}
# Where CMS's program of 2025 differs from CMS's tables. The DOC_ columns have the values by the tables.
NOT_REASSIGNED, OTHER_METAL = "AGE0_MALE_NOT_REASSIGNED", "CSR_METAL_MISMATCH"
MCE_BY_AGE_LAST = "MCE_BY_AGE_LAST"
DEPARTURES = {NOT_REASSIGNED, OTHER_METAL, MCE_BY_AGE_LAST}


def scores(tables: ModelTables, member: Member, trace: Trace) -> dict[str, str]:
    """The scores as CMS's program writes them."""
    segments = segments_of(tables, member.facts)
    segment = choose_segment(tables, member.facts)
    assert segment is not None
    own = tables.segments.index(segment)
    assert own in segments
    assert {tables.segments[number].population for number in segments} == {member.expected["MODEL"]}
    found = {
        tables.segments[number].score_column: score_of(tables, trace.variables, number) for number in segments
    }
    found["SCORE"] = score_of(tables, trace.variables, own)
    multiplier = multiplier_of(tables, member.facts)
    found["CSR_ADJUSTED_SCORE"] = apply_multiplier(found["SCORE"], multiplier)
    return {name: thousandths(value) for name, value in found.items()}


def number_of(text: str) -> int:
    """A score with three decimals in thousandths."""
    assert text[-4] == ".", text
    return int(text.replace(".", ""))


def thousandths(value: int) -> str:
    return f"{'-' * (value < 0)}{abs(value) // 1000}.{abs(value) % 1000:03}"


def close(first: str, second: str) -> bool:
    """Whether two scores differ by at most 0.001."""
    return abs(number_of(first) - number_of(second)) <= 1


def check(tables: ModelTables, member: Member) -> list[str]:
    """Differences from the expected row. Where CMS's program departs from the tables, the tables count."""
    trace = member.trace(tables)
    found = scores(tables, member, trace)
    if MCE_BY_AGE_LAST in member.flags:
        # By the tables' rule only the member's own score is known. By the program's rule all columns are: the age
        # at the diagnosis is the age at the end of enrollment, as if the member was born on 1 January.
        own = {"SCORE": "DOC_SCORE", "CSR_ADJUSTED_SCORE": "DOC_CSR_ADJUSTED_SCORE"}
        wrong = [f"{name} is {found[name]}" for name in own if found[name] != member.expected[own[name]]]
        born = days(f"{tables.year - member.facts['age']}0101")
        as_program = trace_member(tables, member.facts, member.codes, birth_date=born)
        wrong += differences(tables, member, as_program, member.expected)
        assert as_program.variables != trace.variables
    elif member.flags & DEPARTURES:
        doc = {"SCORE": member.expected["DOC_SCORE"]}
        doc["CSR_ADJUSTED_SCORE"] = member.expected["DOC_CSR_ADJUSTED_SCORE"]
        if NOT_REASSIGNED in member.flags:
            doc["VARIABLES"] = member.expected["VARIABLES"].replace("AGE0_MALE", "AGE1_MALE")
            for number in segments_of(tables, member.facts):
                own_age, other = (tables.coefficients[f"AGE{age}_MALE"][number] or 0 for age in (0, 1))
                column = tables.segments[number].score_column
                doc[column] = thousandths(number_of(member.expected[column]) - own_age + other)
        assert (NOT_REASSIGNED in member.flags) == ("AGE0_MALE_AS_AGE1" in trace.variables)
        assert (OTHER_METAL in member.flags) <= ("CSR_OTHER_METAL" in trace.variables)
        wrong = differences(tables, member, trace, {**member.expected, **doc})
    else:
        wrong = differences(tables, member, trace, member.expected)
    return [f"{member.person['ID']} {tables.year}: {text}" for text in wrong]


def differences(tables: ModelTables, member: Member, trace: Trace, expected: Mapping[str, str]) -> list[str]:
    """Differences from the columns of a row of expected.csv."""
    found = scores(tables, member, trace)
    wrong = []
    for name, value in found.items():
        tie = name == "CSR_ADJUSTED_SCORE" and "ROUND_TIE" in member.flags
        if value != expected[name] and not (tie and close(value, expected[name])):
            wrong.append(f"{name} is {value}, not {expected[name]}")
    segment = segments_of(tables, member.facts)[0]
    variables = {name for name in trace.variables if coefficient_of(tables, name, segment) is not None}
    if variables != words(expected["VARIABLES"]):
        wrong.append(f"variables {sorted(variables ^ words(expected['VARIABLES']))}")
    hccs = {name for name in trace.remaining if tables.variables[name].kind == "category"}
    if hccs != words(expected["HCCS"]):
        wrong.append(f"HCCs {sorted(hccs ^ words(expected['HCCS']))}")
    return wrong


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("extent", FOLDERS)
def test_members_score_as_cms_says(extent: str, year: int) -> None:
    folder = FOLDERS[extent] / str(year)
    if extent == "full" and not folder.is_dir():
        pytest.skip(f"no expected scores at {folder}")
    tables = load_tables("hhs_hcc", year)
    members = read_members(folder)
    assert len(members) == SIZES.get(extent, len(members)) > 0
    wrong = [text for member in members for text in check(tables, member)]
    assert not wrong, f"{len(wrong)} differences: " + "; ".join(wrong[:10])
