"""CMS-HCC V28 of 2026 in streaming Polars: `python -m benchmarks.peers.polars_v28 MEMBERS DIAGNOSES OUT`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import polars as pl

from benchmarks.peers.lookups import AGES, MAX_COUNTED, SEGMENTS, Lookups, load

N_SEGMENTS = len(SEGMENTS)
AGES_AND_SEXES = AGES * 2


def frame(rows: Sequence[tuple[int, ...]], **types: type[pl.DataType]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=dict(types), orient="row")


def extras(tables: Lookups) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """The coefficients of interactions and of counts, by `... * 9 + segment`."""
    terms = frame(tables.interactions, s=pl.Int32, needs=pl.Int32, value=pl.Int32)
    every = pl.LazyFrame(
        {"meaning": pl.Series(range(2 * max(bits for _, bits, _ in tables.interactions)), dtype=pl.Int32)}
    )
    interactions = (
        terms.join(every, how="cross")
        .filter(pl.col("meaning") & pl.col("needs") == pl.col("needs"))
        .group_by(key=pl.col("meaning") * N_SEGMENTS + pl.col("s"))
        .agg(interaction=pl.col("value").sum())
    )
    counts = frame(
        [(n * N_SEGMENTS + s, value) for s, n, value in tables.counts], key=pl.Int32, count=pl.Int32
    )
    return interactions, counts


def score(members: str, diagnoses: str, out: str) -> None:
    """Score from Parquet to Parquet."""
    tables = load()
    codes = pl.LazyFrame(tables.codes, schema={"icd10": pl.String, "slot": pl.UInt8}, orient="row")
    keys: list[int] = []  # combinations of slot, age and sex that count, with their HCCs
    hccs: list[int] = []
    for slot, (hcc, lowest, highest, only_sex) in enumerate(tables.slots):
        for sex in only_sex or "MF":
            first = slot * AGES_AND_SEXES + (sex == "F")
            keys += range(first + lowest * 2, first + highest * 2 + 1, 2)
            hccs += [hcc] * (highest - lowest + 1)
    allowed = pl.LazyFrame({"key": keys, "hcc": hccs}, schema={"key": pl.Int32, "hcc": pl.Int32})
    hierarchy = frame(tables.hierarchy, hcc=pl.Int32, child=pl.Int32)
    factors = frame(
        [(hcc * N_SEGMENTS + s, value, meaning) for s, hcc, value, meaning in tables.factors],
        key=pl.Int32,
        value=pl.Int32,
        meaning=pl.Int32,
    )
    interactions, counts = extras(tables)
    base = (
        pl.LazyFrame({"base": pl.Series(tables.base, dtype=pl.Int32)})
        .with_row_index("key")
        .cast({"key": pl.Int32})
    )

    born, age, orec = pl.col("birth_date"), pl.col("age"), pl.col("orec")
    later = (born.dt.month() > 2) | ((born.dt.month() == 2) & (born.dt.day() > 1))
    dual = (
        pl.when(pl.col("dual_status") == "none")
        .then(0)
        .when(pl.col("dual_status") == "partial")
        .then(1)
        .otherwise(2)
    )
    segment = (
        pl.when(pl.col("new_enrollee") == 1)
        .then(7 + pl.col("c_snp"))
        .when(pl.col("institutional") == 1)
        .then(6)
        .otherwise(dual + pl.when(age < 65).then(3).otherwise(0))
    )
    female = (pl.col("sex") == "F").cast(pl.Int32)
    facts = orec.cast(pl.Int32) * 4 + pl.col("medicaid") * 2 + pl.col("new_enrollee_medicaid")
    people = (
        pl.scan_parquet(members)
        .with_row_index("row")
        .with_columns(age=(2026 - born.dt.year()).cast(pl.Int32) - later.cast(pl.Int32))
        .with_columns(s=segment.cast(pl.Int32))
        .select(
            "row",
            "member_id",
            "s",
            age_and_sex=age * 2 + female,
            base_key=(age * 32 + female * 16 + facts) * N_SEGMENTS + pl.col("s"),
            disabled=((age < 65) & (orec != 0)).cast(pl.Int32) * tables.disabled,
        )
        .collect(engine="streaming")
        .lazy()
    )
    hits = (
        pl.scan_parquet(diagnoses)
        .select("member_id", "icd10")
        .join(codes, on="icd10")
        .select("member_id", "slot")
        .unique()
        .join(people.select("row", "member_id", "s", "age_and_sex", "disabled"), on="member_id")
        .with_columns(key=pl.col("slot").cast(pl.Int32) * AGES_AND_SEXES + pl.col("age_and_sex"))
        .join(allowed, on="key")
        .select("row", "s", "disabled", "hcc")
        .unique()
        .collect(engine="streaming")
        .lazy()
    )
    heart = pl.col("hcc") == tables.heart
    void = (
        hits.filter(pl.col("hcc").is_in([tables.heart, *tables.heart_needs]))
        .group_by("row")
        .agg(void=heart.all())
        .filter("void")
        .select("row", hcc=pl.lit(tables.heart, pl.Int32))
    )
    found = hits.join(void, on=["row", "hcc"], how="anti")
    dropped = found.join(hierarchy, on="hcc").select("row", hcc="child").unique()
    diseases = (
        found.join(dropped, on=["row", "hcc"], how="anti")
        .with_columns(key=pl.col("hcc") * N_SEGMENTS + pl.col("s"))
        .join(factors, on="key", how="left")
        .group_by("row")
        .agg(
            pl.col("s").first(),
            pl.col("disabled").first(),
            pl.col("value").sum(),
            pl.col("meaning").bitwise_or(),
            n=pl.len().cast(pl.Int32),
        )
        .with_columns(
            interaction_key=(pl.col("meaning") | pl.col("disabled")) * N_SEGMENTS + pl.col("s"),
            count_key=pl.col("n").clip(upper_bound=MAX_COUNTED) * N_SEGMENTS + pl.col("s"),
        )
        .join(interactions, left_on="interaction_key", right_on="key", how="left")
        .join(counts, left_on="count_key", right_on="key", how="left")
        .select(
            "row",
            "n",
            disease=pl.col("value") + pl.col("interaction").fill_null(0) + pl.col("count").fill_null(0),
        )
    )
    (
        people.join(diseases, on="row", how="left")
        .join(base, left_on="base_key", right_on="key")
        .select(
            "member_id",
            segment=pl.col("s").replace_strict(list(range(N_SEGMENTS)), list(SEGMENTS)),
            raw_score=(pl.col("base") + pl.col("disease").fill_null(0)) / 1000,
            payment_hcc_count=pl.col("n").fill_null(0).cast(pl.Int16),
        )
        .sink_parquet(out, engine="streaming")
    )


if __name__ == "__main__":
    score(*sys.argv[1:])
