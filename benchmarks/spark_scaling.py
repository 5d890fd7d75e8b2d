"""Measures wall and CPU seconds of a whole Spark job, from Parquet to Parquet, on one and on two cores.

    .venv/bin/python -m benchmarks.spark_scaling benchmarks/.data/1000000-shuffled-string-*

Needs Java and the extra `spark`. Every run starts a new Spark on `local[cores]` and does the job twice. Only the
second time counts, because the first one starts the Python workers, loads the compiled kernels and lets the JVM
compile. A cluster does this once, not once per million members.

Modes:

score     the whole job
sql       the same scores in Spark SQL (`peers/spark_v28.py`)
shuffle   a job that shuffles the rows as they are to a function that only counts them
engine    the engine without Spark, in one process with one thread
bucket    what a Python worker does with one bucket (all members), to measure the memory per row
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def session(cores: int, buckets: int, local: str) -> Any:
    """A new Spark session that keeps its temporary files in the folder `local`."""
    from pyspark.sql import SparkSession  # not needed by all modes

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.driver.memory", "4g")
    for key, value in {
        "spark.local.dir": local,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": str(buckets),
        "spark.sql.files.maxPartitionBytes": "32m",  # splits the file of a million members into several tasks
    }.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def cpu_seconds() -> float:
    """CPU seconds of this process and its descendants: the JVM and the Python workers, also ended ones."""
    parent, spent = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parent[pid], spent[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    family, size = {os.getpid()}, 0
    while len(family) > size:  # add children until there are no more
        size = len(family)
        family |= {pid for pid, parent_pid in parent.items() if parent_pid in family}
    return sum(spent[pid] for pid in family) / os.sysconf("SC_CLK_TCK")


def whole_job(spark: Any, folder: Path, out: Path, mode: str) -> tuple[float, float]:
    """Wall and CPU seconds of a job, from reading Parquet to writing Parquet."""
    from hccore import spark as hccore_spark  # not needed by all modes

    members = spark.read.parquet(str(folder / "members.parquet"))
    diagnoses = spark.read.parquet(str(folder / "diagnoses.parquet"))
    start, cpu = time.perf_counter(), cpu_seconds()
    if mode == "sql":
        from benchmarks.peers import spark_v28

        spark_v28.score(spark, folder / "members.parquet", folder / "diagnoses.parquet", out)
    elif mode == "shuffle":
        from pyspark.sql import functions as F  # noqa: N812

        def buckets_of(frame: Any, *columns: str) -> Any:
            bucket = F.pmod(F.hash("member_id"), F.lit(int(spark.conf.get("spark.sql.shuffle.partitions"))))
            return frame.select(bucket.alias("bucket"), *columns).groupBy("bucket")

        pairs = buckets_of(members, *members.columns).cogroup(buckets_of(diagnoses, "member_id", "icd10"))
        pairs.applyInArrow(count_rows, "members long, codes long").write.parquet(str(out))
    else:
        scored = hccore_spark.score(members, diagnoses, model="cms_hcc_v28", year=2026)
        scored.scores.write.parquet(str(out))
        scored.close()
    return time.perf_counter() - start, cpu_seconds() - cpu


def count_rows(members: Any, codes: Any) -> Any:
    """The function of mode `shuffle`: numbers of rows of a bucket."""
    import pyarrow as pa  # not needed by all modes

    return pa.table({"members": [len(members)], "codes": [len(codes)]})


def one_bucket(folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a worker for one bucket. Rows come in batches of 10,000, as Spark sends them."""
    import pyarrow as pa  # not needed by all modes

    from hccore.partition import prepare

    with tempfile.TemporaryDirectory() as streams:
        files = {name: Path(streams) / name for name in ("members", "diagnoses")}
        subprocess.run([sys.executable, "-c", _STREAMS, str(folder), streams], check=True)
        schemas = {name: pa.ipc.open_stream(pa.OSFile(str(file))).schema for name, file in files.items()}
        job = prepare(schemas, models=[("cms_hcc_v28", 2026)])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, cpu = time.perf_counter(), cpu_seconds()
        tables = {name: pa.ipc.open_stream(pa.OSFile(str(file))).read_all() for name, file in files.items()}
        scores, _ = job.score(**tables)
        seconds = time.perf_counter() - start, cpu_seconds() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows = {name: table.num_rows for name, table in tables.items()}
        print(f"note: {rows}, {len(scores)} scores: {before / 1024:.0f} MB before, peak {peak / 1024:.0f} MB")
        return seconds


_STREAMS = """
import sys, pyarrow as pa, pyarrow.parquet as pq
folder, out = sys.argv[1:]
for name in ("members", "diagnoses"):
    table = pq.read_table(f"{folder}/{name}.parquet")
    table = table.select(["member_id", "icd10"]) if name == "diagnoses" else table
    with pa.ipc.new_stream(f"{out}/{name}", table.schema) as stream:
        stream.write_table(table, max_chunksize=10_000)
"""


def engine_alone(folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of the engine without Spark, with one thread."""
    import hccore  # not needed by all modes

    model = hccore.load_model("cms_hcc_v28", 2026)
    samples = ROOT / "data_samples"
    model.score(samples / "members.csv", samples / "diagnoses.csv")  # loads the compiled kernels
    with tempfile.TemporaryDirectory() as out:
        start, cpu = time.perf_counter(), cpu_seconds()
        result = model.score(folder / "members.parquet", folder / "diagnoses.parquet", threads=1)
        result.write(Path(out) / "scores.parquet")
        return time.perf_counter() - start, cpu_seconds() - cpu


def one_run(folder: Path, cores: int, buckets: int, mode: str) -> tuple[float, float]:
    """Wall and CPU seconds of one run in this process."""
    if mode == "engine":
        return engine_alone(folder)
    if mode == "bucket":
        return one_bucket(folder)
    local = tempfile.TemporaryDirectory()
    spark = session(cores, buckets, local.name)
    try:
        with tempfile.TemporaryDirectory() as out:
            whole_job(spark, folder, Path(out) / "first", mode)
            shuffled = sum(file.stat().st_size for file in Path(local.name).rglob("shuffle_*.data"))
            seconds = whole_job(spark, folder, Path(out) / "scores", mode)
            written = sum(file.stat().st_size for file in Path(out, "scores").rglob("*.parquet"))
            print(f"note: {shuffled:,} bytes shuffled, {written:,} bytes written")
            return seconds
    finally:
        spark.stop()
        local.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="folder with members.parquet and diagnoses.parquet")
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("MODE", "CORES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print("seconds", *one_run(args.folder, int(args.one[1]), args.buckets, args.one[0]))
        return
    runs = [("engine", 1), ("bucket", 1), ("score", 1), ("score", 2), ("sql", 1), ("sql", 2), ("shuffle", 1)]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {run: [] for run in runs}
    for _ in range(args.rounds):
        for mode, cores in runs:  # in turn, so that other load on the machine affects all of them
            command = [sys.executable, "-m", "benchmarks.spark_scaling", str(args.folder)]
            command += ["--buckets", str(args.buckets), "--one", mode, str(cores)]
            done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
            lines = done.stdout.splitlines()
            seconds = next(line for line in lines if line.startswith("seconds"))
            wall, cpu = map(float, seconds.split()[1:])
            found[mode, cores].append((wall, cpu))
            notes = "; ".join(line for line in lines if line.startswith("note"))
            print(f"{mode} {cores}: {wall:.1f} s, CPU {cpu:.1f} s {notes}", flush=True)
    for (mode, cores), measured in found.items():
        wall, cpu = (statistics.median(values) for values in zip(*measured, strict=True))
        print(f"{mode:8} local[{cores}]  medians of {len(measured)}: {wall:6.1f} s, CPU {cpu:6.1f} s")


if __name__ == "__main__":
    main()
