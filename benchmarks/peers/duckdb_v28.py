"""CMS-HCC V28 of 2026 in DuckDB SQL: `python -m benchmarks.peers.duckdb_v28 MEMBERS DIAGNOSES OUT`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import duckdb

from benchmarks.peers.lookups import SEGMENTS, Lookups, load

WORD_BITS = 58  # HCCs per BIGINT
N_SEGMENTS = len(SEGMENTS)


def create(con: Any, name: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    """Create a table from a list of rows. `columns` has the form `name TYPE, name TYPE`."""
    selected = ", ".join(
        f"unnest(?)::{kind} AS {column}" for column, kind in map(str.split, columns.split(", "))
    )
    con.execute(
        f"CREATE TEMP TABLE {name} AS SELECT {selected}", [list(column) for column in zip(*rows, strict=True)]
    )


def words(hccs: Sequence[int]) -> tuple[int, int]:
    """HCCs as bits of two words."""
    bits = [0, 0]
    for hcc in hccs:
        bits[hcc // WORD_BITS] |= 1 << hcc % WORD_BITS
    return bits[0], bits[1]


def create_tables(con: Any, tables: Lookups) -> None:
    """Create the lookup tables. Lookups by segment use one key, `... * 9 + segment`."""
    drops: dict[int, list[int]] = {tables.heart: []}  # applied in the query, because a void HCC drops nothing
    for parent, child in tables.hierarchy:
        if parent != tables.heart:
            drops.setdefault(parent, []).append(child)
    hccs = sorted({hcc for hcc, *_ in tables.slots})
    create(con, "codes", "icd10 VARCHAR, slot UTINYINT", tables.codes)
    slots = [(slot, *limits) for slot, limits in enumerate(tables.slots)]
    create(con, "slots", "slot UTINYINT, hcc INT, lowest UTINYINT, highest UTINYINT, only_sex VARCHAR", slots)
    masks = [(hcc, *words([hcc]), *words(drops.get(hcc, []))) for hcc in hccs]
    create(con, "masks", "hcc INT, b0 BIGINT, b1 BIGINT, d0 BIGINT, d1 BIGINT", masks)
    factors = [(hcc * N_SEGMENTS + s, value, meaning) for s, hcc, value, meaning in tables.factors]
    create(con, "factors", "key INT, value INT, meaning INT", factors)
    con.execute(
        "CREATE TEMP TABLE bases AS SELECT unnest(range(len($1)))::INT AS key, unnest($1) AS base",
        [tables.base],
    )
    create(con, "terms", "s INT, needs INT, value INT", tables.interactions)
    create(
        con, "counts", "key INT, value INT", [(n * N_SEGMENTS + s, value) for s, n, value in tables.counts]
    )
    con.execute(
        f"""CREATE TEMP TABLE interactions AS
        SELECT (m * {N_SEGMENTS} + s)::INT AS key, sum(value)::INT AS value
        FROM terms, range((SELECT max(needs) * 2 FROM terms)) r(m) WHERE m & needs = needs GROUP BY ALL"""
    )


def score(members: str, diagnoses: str, out: str) -> None:
    """Score from Parquet to Parquet."""
    tables = load()
    con = duckdb.connect(config={"preserve_insertion_order": False})
    create_tables(con, tables)
    con.execute(
        """CREATE TEMP TABLE people AS
        SELECT file_row_number::INT AS row, member_id, age, sex, orec, (age < 65 AND orec <> 0)::INT AS disabled,
               age * 32 + (sex = 'F')::INT * 16 + orec * 4 + medicaid * 2 + new_enrollee_medicaid AS cell,
               CASE WHEN new_enrollee = 1 THEN 7 + c_snp WHEN institutional = 1 THEN 6
                    ELSE CASE dual_status WHEN 'none' THEN 0 WHEN 'partial' THEN 1 ELSE 2 END
                         + CASE WHEN age < 65 THEN 3 ELSE 0 END END AS s
        FROM (SELECT *, (date_diff('year', birth_date, DATE '2026-02-01')
                         - CASE WHEN (month(birth_date), day(birth_date)) > (2, 1) THEN 1 ELSE 0 END)::INT AS age
              FROM read_parquet($members, file_row_number = true))""",
        {"members": members},
    )
    # Three quarters of the rows have no payment code. So codes are joined first, then made distinct, then joined
    # with members. The condition is a CASE, because otherwise DuckDB first joins all members with all slots by
    # age, and this takes ten times as long.
    con.execute(
        """CREATE TEMP TABLE hits AS
        WITH coded AS MATERIALIZED
            (SELECT DISTINCT member_id, slot FROM read_parquet($diagnoses) JOIN codes USING (icd10))
        SELECT DISTINCT row, s, disabled, hcc
        FROM coded JOIN people USING (member_id) JOIN slots USING (slot)
        WHERE CASE WHEN only_sex IN ('', sex) THEN age BETWEEN lowest AND highest ELSE FALSE END""",
        {"diagnoses": diagnoses},
    )
    # The heart HCC is absent (0), void (1) or counts (2).
    heart = words([tables.heart])
    needs = words(tables.heart_needs)
    drops = words([child for parent, child in tables.hierarchy if parent == tables.heart])
    void = [f"CASE heart WHEN 2 THEN {drops[w]} WHEN 1 THEN {heart[w]} ELSE 0 END" for w in (0, 1)]
    con.execute(
        f"""COPY (
        WITH found AS
            (SELECT row, bit_or(b0) AS b0, bit_or(b1) AS b1, bit_or(d0) AS d0, bit_or(d1) AS d1
             FROM hits JOIN masks USING (hcc) GROUP BY row),
        kept AS
            (SELECT row, b0 & ~(d0 | {void[0]}) AS k0, b1 & ~(d1 | {void[1]}) AS k1
             FROM (SELECT *, CASE WHEN ((b0 & {heart[0]}) | (b1 & {heart[1]})) = 0 THEN 0
                                  WHEN ((b0 & {needs[0]}) | (b1 & {needs[1]})) = 0 THEN 1 ELSE 2 END AS heart
                   FROM found)),
        scored AS
            (SELECT row, any_value(s) AS s, any_value(bit_count(k0) + bit_count(k1)) AS n,
                    bit_or(meaning) | any_value(disabled) * {tables.disabled} AS meaning,
                    sum(factors.value) AS value
             FROM hits JOIN masks USING (hcc) JOIN kept USING (row)
                  LEFT JOIN factors ON factors.key = hcc * {N_SEGMENTS} + s
             WHERE (b0 & k0) <> 0 OR (b1 & k1) <> 0 GROUP BY row),
        diseases AS
            (SELECT row, n, scored.value + coalesce(i.value, 0) + coalesce(c.value, 0) AS value
             FROM scored LEFT JOIN interactions i ON i.key = meaning * {N_SEGMENTS} + s
                         LEFT JOIN counts c ON c.key = least(n, 10) * {N_SEGMENTS} + s)
        SELECT member_id, {list(SEGMENTS)}[s + 1] AS segment, (base + coalesce(value, 0)) / 1000.0 AS raw_score,
               coalesce(n, 0)::SMALLINT AS payment_hcc_count
        FROM people LEFT JOIN diseases USING (row) JOIN bases ON bases.key = cell * {N_SEGMENTS} + s
        ) TO '{out}' (FORMAT parquet)"""
    )


if __name__ == "__main__":
    score(*sys.argv[1:])
