"""CMS-HCC V28 of 2026 in Spark SQL: the query of `duckdb_v28` with Spark's functions. Used by `spark_scaling`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.duckdb_v28 import N_SEGMENTS, words
from benchmarks.peers.lookups import SEGMENTS, Lookups, load


def create_view(spark: Any, name: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    """Create a small table from a list of rows. Spark sends it to every worker (a broadcast join)."""
    spark.createDataFrame([tuple(row) for row in rows], columns).createOrReplaceTempView(name)


def create_tables(spark: Any, tables: Lookups) -> None:
    """Create the lookup tables. Lookups by segment use one key, `... * 9 + segment`."""
    drops: dict[int, list[int]] = {tables.heart: []}  # applied in the query, because a void HCC drops nothing
    for parent, child in tables.hierarchy:
        if parent != tables.heart:
            drops.setdefault(parent, []).append(child)
    create_view(spark, "codes", "icd10 string, slot int", tables.codes)
    slots = [(slot, *limits) for slot, limits in enumerate(tables.slots)]
    create_view(spark, "slots", "slot int, hcc int, lowest int, highest int, only_sex string", slots)
    hccs = sorted({hcc for hcc, *_ in tables.slots})
    masks = [(hcc, *words([hcc]), *words(drops.get(hcc, []))) for hcc in hccs]
    create_view(spark, "masks", "hcc int, b0 long, b1 long, d0 long, d1 long", masks)
    factors = [(hcc * N_SEGMENTS + s, value, meaning) for s, hcc, value, meaning in tables.factors]
    create_view(spark, "factors", "key int, value int, meaning int", factors)
    create_view(spark, "bases", "key int, base int", list(enumerate(tables.base)))
    counts = [(n * N_SEGMENTS + s, value) for s, n, value in tables.counts]
    create_view(spark, "counts", "key int, value int", counts)
    sums: dict[int, int] = {}
    for s, needs, value in tables.interactions:
        for meaning in range(2 * max(needs for _, needs, _ in tables.interactions)):
            if meaning & needs == needs:
                key = meaning * N_SEGMENTS + s
                sums[key] = sums.get(key, 0) + value
    create_view(spark, "interactions", "key int, value int", list(sums.items()))


def score(spark: Any, members: Path, diagnoses: Path, out: Path) -> None:
    """Score from Parquet to Parquet."""
    tables = load()
    create_tables(spark, tables)
    spark.read.parquet(str(members)).createOrReplaceTempView("members")
    spark.read.parquet(str(diagnoses)).createOrReplaceTempView("diagnoses")
    heart = words([tables.heart])
    needs = words(tables.heart_needs)
    drops = words([child for parent, child in tables.hierarchy if parent == tables.heart])
    # The heart HCC is absent (0), void (1) or counts (2).
    void = [f"CASE heart WHEN 2 THEN {drops[w]} WHEN 1 THEN {heart[w]} ELSE 0 END" for w in (0, 1)]
    segments = ", ".join(f"'{name}'" for name in SEGMENTS)
    spark.sql(
        f"""WITH people AS
            (SELECT member_id, age, sex, CAST(age < 65 AND orec <> 0 AS INT) AS disabled,
                    age * 32 + CAST(sex = 'F' AS INT) * 16 + orec * 4 + medicaid * 2 + new_enrollee_medicaid
                        AS cell,
                    CASE WHEN new_enrollee = 1 THEN 7 + c_snp WHEN institutional = 1 THEN 6
                         ELSE CASE dual_status WHEN 'none' THEN 0 WHEN 'partial' THEN 1 ELSE 2 END
                              + CASE WHEN age < 65 THEN 3 ELSE 0 END END AS s
             FROM (SELECT *, 2026 - year(birth_date)
                             - CASE WHEN month(birth_date) * 100 + day(birth_date) > 201 THEN 1 ELSE 0 END AS age
                   FROM members)),
        coded AS
            (SELECT DISTINCT member_id, slot FROM diagnoses JOIN codes USING (icd10)),
        hits AS
            (SELECT DISTINCT member_id, s, disabled, hcc
             FROM coded JOIN slots USING (slot) JOIN people USING (member_id)
             WHERE only_sex IN ('', sex) AND age BETWEEN lowest AND highest),
        found AS
            (SELECT member_id, bit_or(b0) AS b0, bit_or(b1) AS b1, bit_or(d0) AS d0, bit_or(d1) AS d1
             FROM hits JOIN masks USING (hcc) GROUP BY member_id),
        kept AS
            (SELECT member_id, b0 & ~(d0 | {void[0]}) AS k0, b1 & ~(d1 | {void[1]}) AS k1
             FROM (SELECT *, CASE WHEN ((b0 & {heart[0]}) | (b1 & {heart[1]})) = 0 THEN 0
                                  WHEN ((b0 & {needs[0]}) | (b1 & {needs[1]})) = 0 THEN 1 ELSE 2 END AS heart
                   FROM found)),
        scored AS
            (SELECT member_id, any_value(s) AS s, any_value(bit_count(k0) + bit_count(k1)) AS n,
                    bit_or(coalesce(meaning, 0)) | any_value(disabled) * {tables.disabled} AS meaning,
                    sum(factors.value) AS value
             FROM hits JOIN masks USING (hcc) JOIN kept USING (member_id)
                  LEFT JOIN factors ON factors.key = hcc * {N_SEGMENTS} + s
             WHERE (b0 & k0) <> 0 OR (b1 & k1) <> 0 GROUP BY member_id),
        diseases AS
            (SELECT member_id, n, scored.value + coalesce(i.value, 0) + coalesce(c.value, 0) AS value
             FROM scored LEFT JOIN interactions i ON i.key = meaning * {N_SEGMENTS} + s
                         LEFT JOIN counts c ON c.key = least(n, 10) * {N_SEGMENTS} + s)
        SELECT member_id, array({segments})[s] AS segment, (base + coalesce(value, 0)) / 1000.0 AS raw_score,
               CAST(coalesce(n, 0) AS SMALLINT) AS payment_hcc_count
        FROM people LEFT JOIN diseases USING (member_id) JOIN bases ON bases.key = cell * {N_SEGMENTS} + s"""
    ).write.parquet(str(out))
