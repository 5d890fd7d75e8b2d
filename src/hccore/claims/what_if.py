"""What the rules of another year take away: the same claims, judged by two sets of policies.

Both runs use the window, code lists and bill types of one year; only the policies differ. So the difference is
that of the rules (audio-only services, unlinked chart reviews, ...), not that of the years' claims.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as compute

if TYPE_CHECKING:
    from hccore.model import Model

_PAIR = ["member_id", "icd10"]
_PAIR_TYPES = pa.schema(
    [(name, pa.string()) for name in _PAIR]
)  # eligible diagnoses may be dictionary arrays
MEMBERS = pa.schema(
    [
        ("member_id", pa.string()),
        ("change", pa.string()),  # lost: counted by the other year's policies only; gained: the reverse
        ("icd10", pa.list_(pa.string())),
        ("hccs", pa.list_(pa.string())),
        ("score_other", pa.float64()),
        ("score", pa.float64()),
        ("score_change", pa.float64()),
    ]
)


def lost_and_gained(counted: pa.Table, counted_other: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Diagnoses that count by one set of policies only.

    Parameters
    ----------
    counted, counted_other : pyarrow.Table
        Eligible diagnoses of the year in question, and of the year that it is compared with.

    Returns
    -------
    lost, gained : pyarrow.Table
        Distinct pairs of `member_id` and `icd10`, sorted: in `counted_other` only, and in `counted` only.
    """
    pairs, pairs_other = (
        table.select(_PAIR).cast(_PAIR_TYPES).group_by(_PAIR, use_threads=False).aggregate([])
        for table in (counted, counted_other)
    )
    lost = pairs_other.join(pairs, _PAIR, join_type="left anti")
    gained = pairs.join(pairs_other, _PAIR, join_type="left anti")
    order = [(name, "ascending") for name in _PAIR]
    return lost.sort_by(order), gained.sort_by(order)


def compare_policies(
    counted: pa.Table, counted_other: pa.Table, model: Model | None = None, members: Any = None
) -> tuple[pa.Table, dict[str, Any]]:
    """Member by member, and in total, what the policies of a year change against those of another year.

    Parameters
    ----------
    counted, counted_other : pyarrow.Table
        Eligible diagnoses by the policies of the year, and by those of the other year.
    model : Model, optional
        With members: scores both. Without, HCCs and scores are null.
    members : path or frame, optional

    Returns
    -------
    members : pyarrow.Table
        Rows of the members with a change, of the schema `MEMBERS`, sorted by member.
    totals : dict
        Members, diagnoses, HCCs and the sum of scores lost and gained.
    """
    lost, gained = lost_and_gained(counted, counted_other)
    scores = None if model is None or members is None else _scores(model, members, counted, counted_other)
    rows = []
    for change, pairs in (("lost", lost), ("gained", gained)):
        for member_id, codes in _by_member(pairs).items():
            row: dict[str, Any] = {"member_id": member_id, "change": change, "icd10": codes}
            if scores is not None and member_id in scores:
                hccs, hccs_other, score, score_other = scores[member_id]
                before, after = (hccs_other, hccs) if change == "lost" else (hccs, hccs_other)
                row |= {
                    "hccs": [hcc for hcc in before if hcc not in after],
                    "score_other": score_other,
                    "score": score,
                    "score_change": None
                    if score is None or score_other is None
                    else (round(score * 1000) - round(score_other * 1000)) / 1000,
                }
            rows.append(row)
    rows.sort(key=lambda row: (row["member_id"], row["change"]))
    table = pa.Table.from_pylist(rows, MEMBERS)
    return table, _totals(table, lost, gained)


def _by_member(pairs: pa.Table) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for member_id, code in zip(*(pairs.column(name).to_pylist() for name in _PAIR), strict=True):
        found.setdefault(member_id, []).append(code)
    return found


def _scores(
    model: Model, members: Any, counted: pa.Table, counted_other: pa.Table
) -> dict[str, tuple[list[str], list[str], float | None, float | None]]:
    """HCCs and raw score of each member by both sets of diagnoses. Members with months: the first row."""
    names = ["member_id", "hccs", "raw_score"]
    found, other = (
        model.score(members, diagnoses.select(["member_id", "icd10", "service_date"])).table(names)
        for diagnoses in (counted, counted_other)
    )
    scores: dict[str, tuple[list[str], list[str], float | None, float | None]] = {}
    for one, before in zip(found.to_pylist(), other.to_pylist(), strict=True):
        hccs, hccs_other = ([str(hcc) for hcc in row["hccs"] or ()] for row in (one, before))
        scores.setdefault(one["member_id"], (hccs, hccs_other, one["raw_score"], before["raw_score"]))
    return scores


def _totals(table: pa.Table, lost: pa.Table, gained: pa.Table) -> dict[str, Any]:
    totals: dict[str, Any] = {}
    for change, pairs in (("lost", lost), ("gained", gained)):
        rows = table.filter(compute.equal(table.column("change"), change))
        hccs = compute.sum(compute.list_value_length(rows.column("hccs"))).as_py()
        totals[change] = {"members": len(rows), "diagnoses": len(pairs), "hccs": hccs or 0}
    by_member = table.group_by("member_id", use_threads=False).aggregate([("score_change", "first")])
    thousandths = [round(value * 1000) for value in by_member.column(1).to_pylist() if value is not None]
    totals["score_change"] = sum(thousandths) / 1000 if thousandths else None
    totals["members_with_score_change"] = sum(value != 0 for value in thousandths)
    return totals
