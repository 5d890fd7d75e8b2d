"""Member ids with more digits than a 64-bit integer holds are told apart and found like all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hccore

WIDTHS = [17, 18, 19, 20, 21, 25, 38, 60]
PREFIXES = ["", "M", "MEMBER-"]
# Differences that do not show in the last 63 or 64 bits of a number, or only in its first digits.
FAR = [1 << 63, 1 << 64, 1 << 65, 3 << 64, 10**18, 10**19]

forms = pytest.mark.parametrize(
    ("prefix", "width"), [(prefix, width) for prefix in PREFIXES for width in WIDTHS]
)


def ids_of(prefix: str, width: int, numbers: list[int]) -> list[str]:
    return [f"{prefix}{number:0{width}d}" for number in numbers if number < 10**width]


def score(
    members: list[Any], codes: list[tuple[str, str]], files: Path | None = None
) -> tuple[dict[Any, list[str]], dict[str, int]]:
    """The categories of every member and the counts of the diagnoses, from tables or from Parquet files."""
    rows: list[object] = [
        pa.table(
            {
                "member_id": members,
                "age": [70] * len(members),
                "sex": ["F"] * len(members),
                "orec": [0] * len(members),
                "dual_status": ["none"] * len(members),
            }
        ),
        pa.table({"member_id": [id_ for id_, _ in codes], "icd10": [code for _, code in codes]}),
    ]
    if files is not None:
        for number, table in enumerate(rows):
            path = files / f"{number}.parquet"
            pq.write_table(table, path, use_dictionary=number == 0)
            rows[number] = path
    result = hccore.load_model("cms_hcc_v28", 2026).score(*rows)
    table = result.table(["member_id", "hccs"])
    return dict(zip(*table.to_pydict().values(), strict=True)), result.report["codes"]["diagnoses"]


@forms
@pytest.mark.parametrize("as_files", [False, True], ids=["tables", "files"])
def test_ids_that_differ_beyond_64_bits_are_different_members(
    prefix: str, width: int, as_files: bool, tmp_path: Path
):
    near = list(range(5))
    members = ids_of(prefix, width, [*near, *(number + far for far in FAR for number in near)])
    if width > 20:
        members += ids_of(prefix, width, [number + (1 << 64) * 10 ** (width - 20) for number in near])
    assert len({*members}) == len(members)
    every_other = members[::2]
    found, counts = score(members, [(id_, "C50A0") for id_ in every_other], tmp_path if as_files else None)
    assert list(found) == members
    assert {id_ for id_, hccs in found.items() if hccs} == {*every_other}
    assert counts["used"] == len(every_other)
    assert counts["unknown_member"] == 0


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("width", [width for width in WIDTHS if width > 19])
@pytest.mark.parametrize("as_files", [False, True], ids=["tables", "files"])
def test_members_whose_numbers_have_the_same_last_64_bits_are_different_members(
    prefix: str, width: int, as_files: bool, tmp_path: Path
):
    """Cut to 64 bits, the 25 numbers would be 5, each of them a duplicate."""
    numbers = [number + (times << 64) for times in range(5) for number in range(5)]
    members = ids_of(prefix, width, numbers)
    assert len(members) == 25
    found, counts = score(members, [(id_, "C50A0") for id_ in members[::2]], tmp_path if as_files else None)
    assert [bool(hccs) for hccs in found.values()] == [True, False] * 12 + [True]
    assert (counts["used"], counts["unknown_member"]) == (13, 0)


@forms
@pytest.mark.parametrize("as_files", [False, True], ids=["tables", "files"])
def test_an_id_that_differs_from_a_members_beyond_64_bits_is_nobody(
    prefix: str, width: int, as_files: bool, tmp_path: Path
):
    """The members' numbers are close together, so they are found through a table indexed by number."""
    near = list(range(40, 60))
    members = ids_of(prefix, width, near)
    strangers = ids_of(prefix, width, [number + far for far in FAR for number in near])
    codes = [(id_, "C50A0") for id_ in strangers] + [(members[3], "C50A0")]
    found, counts = score(members, codes, tmp_path if as_files else None)
    assert {id_ for id_, hccs in found.items() if hccs} == {members[3]}
    assert counts["unknown_member"] == len(strangers)
    assert counts["used"] == 1


@pytest.mark.parametrize("width", [19, 20, 25])
def test_long_numbers_that_are_one_apart_are_different_members(width: int):
    """A floating-point number would lose the difference."""
    last = 10**width - 1
    members = [str(last - number) for number in range(50)]
    found, _ = score(members, [(id_, "C50A0") for id_ in members[1::2]])
    assert [bool(hccs) for hccs in found.values()] == [False, True] * 25


@pytest.mark.parametrize("width", [19, 20, 25])
def test_a_long_id_that_occurs_twice_is_a_duplicate(width: int):
    """An id that differs beyond 64 bits is not a duplicate."""
    members = ids_of("", width, [7, 8, 7 + (1 << 64), 7 + (1 << 63)])
    score(members, [(members[0], "C50A0")])
    with pytest.raises(hccore.InputError, match="member_id: 2 rows are not unique"):
        score([*members, members[0]], [(members[0], "C50A0")])


@pytest.mark.parametrize("as_files", [False, True], ids=["tables", "files"])
def test_integer_ids_of_19_digits_are_found_by_text(as_files: bool, tmp_path: Path):
    """Texts beyond the range of 64-bit integers are unknown members."""
    members = [10**18 - 1, 10**18, 5 * 10**18, (1 << 63) - 2, (1 << 63) - 1, -(10**18), -(1 << 63)]
    unknown = [1 << 63, (1 << 63) + 1, 10**19 - 1, 10**19, 1 << 64, (1 << 64) + 10**18, 10**40]
    unknown += [-(1 << 63) - 1, -(10**19) + 1, -(10**19)]
    codes = [(str(id_), "C50A0") for id_ in [*members[1:], *unknown]] + [(f"0{10**18}", "C50A0")]
    found, counts = score(members, codes, tmp_path if as_files else None)
    assert {id_ for id_, hccs in found.items() if hccs} == {*members[1:]}
    assert counts["used"] == len(members) - 1
    assert counts["unknown_member"] == len(unknown) + 1
