"""Joins CCLF1 (claims), CCLF2 (revenue center lines) and CCLF4 (diagnoses) into institutional claim lines.

The three files may hold more rows than memory, in any order. DuckDB joins them, because it spills to disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.claims.lines import BATCH_LINES, LINES

MEMORY_LIMIT = "700MB"
HEADERS, REVENUE_LINES, DIAGNOSES = "headers", "revenue_lines", "diagnoses"

HEADER_FIELDS = (
    "source",
    "source_row",
    "member_id",
    "claim_id",
    "claim_type",
    "version",
    "effective_date",
    "control_number",
    "chain",
    "from_date",
    "thru_date",
    "discharge_status",
    "bill_type",
    "facility_id",
    "denied",
)
LINE_FIELDS = (
    "source",
    "source_row",
    "claim_id",
    "claim_line",
    "line_from_date",
    "line_thru_date",
    "revenue_code",
    "hcpcs",
    "modifiers",
    "units",
    "paid_amount",
)
SCHEMAS = {
    HEADERS: pa.schema([LINES.field(name) for name in HEADER_FIELDS]),
    REVENUE_LINES: pa.schema([LINES.field(name) for name in LINE_FIELDS]),
    DIAGNOSES: pa.schema(
        [
            ("claim_id", pa.string()),
            ("code", pa.string()),
            ("icd_version", pa.int8()),
            ("role", pa.string()),
            ("rank", pa.int8()),  # order of the roles
            ("sequence", pa.int32()),
            ("present_on_admission", pa.string()),
        ]
    ),
}

# The same code as principal and as other diagnosis is one entry, because CCLF4 repeats the principal diagnosis of
# CCLF1. A code in another role is an entry of its own.
_ENTRIES = """
    SELECT claim_id, code, max(icd_version) AS icd_version, arg_min(role, rank) AS role, min(rank) AS rank,
           min(sequence) AS sequence, max(present_on_admission) AS present_on_admission
    FROM diagnoses
    GROUP BY claim_id, code, CASE WHEN role IN ('principal', 'other') THEN '' ELSE role END
"""
_LISTS = f"""
    SELECT claim_id, list({{
               'code': code, 'icd_version': icd_version, 'role': role,
               'present_on_admission': present_on_admission, 'pointed': CAST(NULL AS BOOLEAN)
           }} ORDER BY rank, sequence, code) AS diagnoses
    FROM ({_ENTRIES}) GROUP BY claim_id
"""  # noqa: S608 - all names are constants of this module
# A record that several deliveries hold counts once.
_ONCE = """
    SELECT * FROM {table}
    QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY source DESC, source_row DESC) = 1
"""
_KEYS = {HEADERS: "claim_id, version, effective_date", REVENUE_LINES: "claim_id, claim_line"}
_ORPHANS = """
    SELECT count(*) FROM {table} AS part WHERE NOT EXISTS (SELECT 1 FROM headers WHERE claim_id = part.claim_id)
"""


class InstitutionalClaims:
    """Collects the rows of CCLF1, CCLF2 and CCLF4, and joins them by claim.

    Use it as a context manager: rows that do not fit into memory are in a temporary folder until it ends. A
    database in memory spills to this folder as well, and takes a quarter less time than one in a file.

    Raises
    ------
    InputError
        If DuckDB is not installed.
    """

    def __init__(self) -> None:
        try:
            import duckdb  # an extra, loaded only for CCLF
        except ImportError:
            raise InputError(
                "CCLF files of institutional claims need DuckDB: pip install 'hccore[claims]'"
            ) from None
        self._folder = tempfile.TemporaryDirectory(prefix="hccore-cclf-")
        self._connection: Any = duckdb.connect(":memory:")
        self._connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        self._connection.execute(f"SET temp_directory = '{self._folder.name}'")
        self._connection.execute("SET preserve_insertion_order = false")
        self._connection.execute("SET enable_progress_bar = false")
        for name, schema in SCHEMAS.items():
            self._connection.register("empty", schema.empty_table())
            self._connection.execute(f"CREATE TABLE {name} AS SELECT * FROM empty")  # noqa: S608
            self._connection.unregister("empty")

    def __enter__(self) -> InstitutionalClaims:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()
        self._folder.cleanup()

    def add(self, table: str, batch: pa.RecordBatch) -> None:
        """Add rows to one of the three tables, in its schema of `SCHEMAS`."""
        self._connection.register("rows", pa.Table.from_batches([batch]))
        self._connection.execute(f"INSERT INTO {table} SELECT * FROM rows")  # noqa: S608
        self._connection.unregister("rows")

    def orphans(self, table: str) -> int:
        """Rows of a table whose claim is not among the claims of CCLF1."""
        return int(self._connection.execute(_ORPHANS.format(table=table)).fetchall()[0][0])

    def lines(self, once: bool) -> Iterator[pa.RecordBatch]:
        """The joined claim lines, in no particular order.

        Parameters
        ----------
        once : bool
            Several deliveries were read, so that a record may have come more than once.
        """
        tables = {
            name: f"({_ONCE.format(table=name, key=key)})" if once else name for name, key in _KEYS.items()
        }
        columns = ", ".join(f"{_source_of(field.name)} AS {field.name}" for field in LINES)
        relation = self._connection.sql(
            f"SELECT {columns} FROM {tables[HEADERS]} AS h "  # noqa: S608
            f"LEFT JOIN {tables[REVENUE_LINES]} AS l ON l.claim_id = h.claim_id "
            f"LEFT JOIN ({_LISTS}) AS d ON d.claim_id = h.claim_id"
        )
        # DuckDB 1 calls the method by its earlier name.
        stream = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
        for batch in stream(BATCH_LINES):
            yield pa.RecordBatch.from_arrays(
                [column.cast(field.type) for column, field in zip(batch.columns, LINES, strict=True)],
                schema=LINES,
            )


def _source_of(column: str) -> str:
    """Where a column of the claim-line table comes from, as SQL."""
    if column in ("source", "source_row"):
        return f"coalesce(l.{column}, h.{column})"
    if column == "form":
        return "'cclf'"
    if column == "diagnoses":
        return "coalesce(d.diagnoses, [])"
    if column in HEADER_FIELDS:
        return f"h.{column}"
    return f"l.{column}" if column in LINE_FIELDS else "NULL"
