"""Scoring in buckets without Spark: DuckDB distributes the rows, and processes score the buckets."""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet

from hccore.partition import Job, prepare

BUCKETS = 4


def score_bucket(job: Job, members: str, diagnoses: str, bucket: int) -> tuple[pa.Table, dict[str, object]]:
    mine = f"hash(member_id::varchar) % {BUCKETS} = {bucket}"
    tables = [duckdb.read_parquet(file).filter(mine).to_arrow_table() for file in (members, diagnoses)]
    return job.score(*tables)


if __name__ == "__main__":
    members, diagnoses, out = sys.argv[1:]
    schemas = {"members": parquet.read_schema(members), "diagnoses": parquet.read_schema(diagnoses)}
    job = prepare(schemas, models=[("cms_hcc_v28", 2026)])
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        scores, reports = zip(
            *pool.map(partial(score_bucket, job, members, diagnoses), range(BUCKETS)), strict=True
        )
    print(job.combine(reports)["members"])  # raises if members are invalid, so nothing is written then
    parquet.write_table(pa.concat_tables(scores), out)
