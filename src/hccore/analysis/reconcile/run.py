"""`reconcile`: all comparisons in one pass over the members."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hccore.analysis.reconcile.diagnoses import COUNTED, REJECTED, OurDiagnosis, compare_diagnoses
from hccore.analysis.reconcile.findings import FINDINGS, Findings
from hccore.analysis.reconcile.hccs import Evidence, MorRecord, compare_hccs
from hccore.analysis.reconcile.inputs import (
    SortedTable,
    merged,
    our_diagnoses,
    our_scores,
    score_of_row,
    set_flags,
)
from hccore.analysis.reconcile.scores import PARTS, MmrRecord, compare_scores
from hccore.base.errors import InputError
from hccore.claims.cms_reports import net_diagnoses, read_mao004, read_mmr, read_mor
from hccore.claims.cms_reports.net_diagnoses import MemberReports, ReportedDiagnosis
from hccore.claims.cms_reports.report_layouts import report_layouts
from hccore.claims.set_aside import BadRecord, SetAside

Paths = Iterable[str | os.PathLike[str]] | str | os.PathLike[str]
Rows = dict[str, list[tuple[Any, ...]]]
_BATCH_ROWS = 1 << 16
_REPORTS = frozenset({"mao004", "mor", "mmr"})
_RESULTS = frozenset({"counted", "rejected", "scores"})


class Reconciliation:
    """Differences between CMS's reports and our results.

    The object is a table of the schema `FINDINGS` for anything that reads `__arrow_c_stream__`. It can be read
    once, batch by batch; `table` keeps the rows. After the last batch `report` is complete.
    """

    schema = FINDINGS

    def __init__(
        self,
        tables: dict[str, SortedTable],
        set_aside: SetAside,
        models_in_mor: Any,
        months: dict[str, range],
    ) -> None:
        self._tables = tables
        self._set_aside = set_aside
        self._models_in_mor = models_in_mor
        self._months = months
        self._areas = {
            area: Findings(area)
            for area, reports in (
                ("diagnoses", {"mao004", "counted"}),
                ("hccs", {"mor"}),
                ("scores", {"mmr"}),
            )
            if reports <= set(tables)
        }
        self._batches = self._run()
        self._table: pa.Table | None = None
        self._members = self._members_on_both_sides = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The rows batch by batch, sorted by member id."""
        if self._table is not None:
            return iter(self._table.to_batches())
        return self._batches

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The rows as an Arrow stream."""
        return pa.RecordBatchReader.from_batches(FINDINGS, iter(self)).__arrow_c_stream__(requested_schema)

    @property
    def table(self) -> pa.Table:
        """All rows."""
        if self._table is None:
            self._table = pa.Table.from_batches(list(self._batches), FINDINGS)
        return self._table

    @property
    def report(self) -> dict[str, Any]:
        """Counts by area, records set aside, and notices. Plain values, ready for JSON."""
        return {
            "members": self._members,
            "members_on_both_sides": self._members_on_both_sides,
            "areas": {name: findings.summary() for name, findings in self._areas.items()},
            "rows_without_member": {
                name: table.without_member for name, table in self._tables.items() if table.without_member
            },
            "set_aside": self._set_aside.report(),
            "notices": [
                {"source": source, "notice": text, "count": count}
                for (source, text), count in sorted(self._set_aside.notices.items())
            ],
        }

    def _run(self) -> Iterator[pa.RecordBatch]:
        for member, rows in merged(self._tables):
            self._members += 1
            self._members_on_both_sides += bool(_REPORTS & set(rows)) and bool(_RESULTS & set(rows))
            self._compare(member, rows)
            if sum(len(one.rows) + len(one.notices) for one in self._areas.values()) >= _BATCH_ROWS:
                yield from self._take()
        yield from self._take()
        if self._members and not self._members_on_both_sides:
            self._set_aside.notice(
                "members", "no member of CMS's reports is in our tables. Check that our member ids are MBIs"
            )

    def _take(self) -> Iterator[pa.RecordBatch]:
        for findings in self._areas.values():
            batch = findings.take_batch()
            if batch.num_rows:
                yield batch

    def _compare(self, member: str, rows: Rows) -> None:
        """All comparisons of one member."""
        reports = MemberReports(ReportedDiagnosis(*row) for row in rows.get("mao004", ()))
        ours = [
            OurDiagnosis(code, day, claim, COUNTED, None) for code, day, claim, _ in rows.get("counted", ())
        ]
        ours += [
            OurDiagnosis(code, day, claim, REJECTED, reason)
            for code, day, claim, reason in rows.get("rejected", ())
        ]
        scores = sorted((score_of_row(row) for row in rows.get("scores", ())), key=str)
        if "diagnoses" in self._areas:
            compare_diagnoses(
                member, reports, ours, self._areas["diagnoses"], has_rejected="rejected" in self._tables
            )
        differ = False
        if "hccs" in self._areas:
            records = [MorRecord(*row)._replace(flags=tuple(row[-1] or ())) for row in rows.get("mor", ())]
            evidence = Evidence(
                reports.diagnoses if "mao004" in self._tables else None,
                ours if "counted" in self._tables else None,
            )
            findings = self._areas["hccs"]
            differ = compare_hccs(member, records, scores, evidence, findings, self._models_in_mor)
        if "scores" in self._areas:
            payments = [MmrRecord(*row) for row in rows.get("mmr", ())]
            compare_scores(
                member, payments, scores, self._areas["scores"], hccs_differ=differ, months=self._months
            )


def reconcile(
    *,
    mao004: Paths = (),
    mor: Paths = (),
    mmr: Paths = (),
    diagnoses: object = None,
    rejected: object = None,
    scores: object = None,
    strict: bool = False,
    keep_set_aside: Callable[[BadRecord], None] | None = None,
) -> Reconciliation:
    """Compare CMS's reports with our results.

    Parameters
    ----------
    mao004, mor, mmr : path or iterable of path
        CMS's files, plain or gzip. MAO-004 is compared with the diagnoses, MOR and MMR with the scores; MAO-004
        and the diagnoses also explain differences in MOR.
    diagnoses, rejected : path or table, optional
        Counted and rejected diagnoses of `hccore.claims.eligible` or `hccore claims`.
    scores : path or table, optional
        Scores of `Model.score` or `hccore score`.
    strict : bool
        Stop at the first record of a report that cannot be used.
    keep_set_aside : function of a BadRecord, optional
        Receives every record that is set aside.

    Returns
    -------
    Reconciliation
        One row per difference, with its likely reason; `unexplained` if there is none.

    Raises
    ------
    InputError
        If a file cannot be read, or a report lacks what it is compared with.
    """
    files = {"mao004": _paths(mao004), "mor": _paths(mor), "mmr": _paths(mmr)}
    _check_given(files, diagnoses, rejected, scores)
    set_aside = SetAside(strict, keep_set_aside)
    tables: dict[str, SortedTable] = {}
    models_in_mor: dict[str, frozenset[str]] = {}
    months: dict[str, range] = {}
    if files["mao004"]:
        table = read_mao004(files["mao004"], set_aside)
        tables["mao004"] = SortedTable(table, "mbi", net_diagnoses.COLUMNS)
    if files["mor"]:
        records = read_mor(files["mor"], set_aside)
        layouts = report_layouts("mor")
        models_in_mor = {
            kind: frozenset(layouts[kind].models) for kind, one in records.items() if one.num_rows
        }
        tables["mor"] = _mor_table(records)
    if files["mmr"]:
        payments = read_mmr(files["mmr"], set_aside, ["mbi", *MmrRecord._fields])
        months = _months(payments)
        tables["mmr"] = SortedTable(payments, "mbi", MmrRecord._fields)
    if diagnoses is not None:
        tables["counted"] = our_diagnoses(diagnoses, "diagnoses", reasons=False)
    if rejected is not None:
        tables["rejected"] = our_diagnoses(rejected, "rejected diagnoses", reasons=True)
    if scores is not None:
        tables["scores"] = our_scores(scores)
    return Reconciliation(tables, set_aside, models_in_mor, months)


def _paths(given: Paths) -> list[str | os.PathLike[str]]:
    return [given] if isinstance(given, str | os.PathLike) else list(given)


def _check_given(files: dict[str, Any], diagnoses: object, rejected: object, scores: object) -> None:
    """Check that every report has something to be compared with."""
    if not any(files.values()):
        raise InputError("no report of CMS is given. Give MAO-004, MOR or MMR files.")
    for name in ("mor", "mmr"):
        if files[name] and scores is None:
            raise InputError(f"{name.upper()} files are compared with scores. Give the scores, too.")
    if files["mao004"] and diagnoses is None and not files["mor"]:
        raise InputError("MAO-004 files are compared with diagnoses. Give the counted diagnoses, too.")
    if rejected is not None and diagnoses is None:
        raise InputError("rejected diagnoses are given without the counted ones. Give both.")


def _mor_table(records: dict[str, pa.Table]) -> SortedTable:
    """The records of all types with the names of the flags that are set."""
    parts = []
    for kind, table in records.items():
        names = [field.name for field in report_layouts("mor")[kind].fields if field.form == "flag"]
        count = "payment_hcc_count"
        has_count = count in table.schema.names
        columns = {
            "record_type": pa.array([kind] * table.num_rows, pa.string()),
            **{name: table[name] for name in MorRecord._fields[1:-2]},
            "hcc_count": table[count] if has_count else pa.nulls(table.num_rows, pa.string()),
            "flags": set_flags(table, names),
            "mbi": table["mbi"],
        }
        parts.append(pa.table(columns))
    return SortedTable(pa.concat_tables(parts), "mbi", MorRecord._fields)


def _months(payments: pa.Table) -> dict[str, range]:
    """By part of Medicare: first to last month of prospective payments, as `year * 12 + month - 1`."""
    prospective = payments.filter(pc.is_null(payments["adjustment_reason"]))
    found = {}
    for part in PARTS:
        is_paid = functools.reduce(
            pc.or_,
            (
                pc.and_(
                    prospective[factor].is_valid(), pc.fill_null(pc.not_equal(prospective[months], 0), True)
                )
                for factor, months in part.factors
            ),
        )
        bounds = pc.min_max(prospective.filter(is_paid)["payment_month"]).as_py()
        first, last = bounds["min"], bounds["max"]
        found[part.part] = (
            range(0)
            if first is None
            else range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
        )
    return found


__all__ = ["Reconciliation", "reconcile"]
