"""Wall and CPU seconds of a whole Spark job, Parquet to Parquet, on one and on two cores.

    .venv/bin/python -m benchmarks.spark_scaling benchmarks/.data/1000000-shuffled-string-*

Needs Java and the extra `spark`. Every run is a new Spark on `local[cores]` that does the job twice; the second
time counts. The first starts the Python workers, loads the compiled kernels and lets the JVM compile: a cluster
does so once, not once a million members. Also measured: the same job with a function that only counts the rows of
a bucket, which is Spark's own share; the engine alone in one process with one thread; and what a Python worker
does with one bucket (the whole folder), which gives the memory that a row takes there.
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
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.driver.memory", "4g")
    for key, value in {
        "spark.local.dir": local,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": str(buckets),
        "spark.sql.files.maxPartitionBytes": "32m",  # so that the one file of a million members is several tasks
    }.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def cpu_seconds() -> float:
    """Of this process and all that came of it: the JVM, the Python workers, and those that have ended."""
    parent, spent = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parent[pid], spent[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    ours, found = {os.getpid()}, 0
    while len(ours) > found:
        found = len(ours)
        ours |= {pid for pid, above in parent.items() if above in ours}
    return sum(spent[pid] for pid in ours) / os.sysconf("SC_CLK_TCK")


def whole_job(spark: Any, folder: Path, out: Path, mode: str) -> tuple[float, float]:
    """Wall and CPU seconds from reading Parquet to having written Parquet."""
    from hccore import spark as on_spark

    members = spark.read.parquet(str(folder / "members.parquet"))
    diagnoses = spark.read.parquet(str(folder / "diagnoses.parquet"))
    start, cpu = time.perf_counter(), cpu_seconds()
    if mode == "shuffle":
        from pyspark.sql import functions as F  # noqa: N812

        def deal(frame: Any, *columns: str) -> Any:
            bucket = F.pmod(F.hash("member_id"), F.lit(int(spark.conf.get("spark.sql.shuffle.partitions"))))
            return frame.select(bucket.alias("bucket"), *columns).groupBy("bucket")

        pair = deal(members, *members.columns).cogroup(deal(diagnoses, "member_id", "icd10"))
        pair.applyInArrow(count_rows, "members long, codes long").write.parquet(str(out))
    else:
        done = on_spark.score(members, diagnoses, model="cms_hcc_v28", year=2026)
        done.scores.write.parquet(str(out))
        done.close()
    return time.perf_counter() - start, cpu_seconds() - cpu


def count_rows(left: Any, right: Any) -> Any:
    import pyarrow as pa

    return pa.table({"members": [len(left)], "codes": [len(right)]})


def one_bucket(folder: Path) -> tuple[float, float]:
    """A worker's part: batches of 10,000 rows from a stream, as Spark sends them, and the engine on them."""
    import pyarrow as pa

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
        print(
            f"note: {rows}, {len(scores)} scores: {before / 1024:.0f} MB before, {peak / 1024:.0f} MB at most"
        )
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


def one_run(folder: Path, cores: int, buckets: int, mode: str) -> tuple[float, float]:
    """In a process of its own."""
    if mode == "engine":
        import hccore

        model = hccore.load_model("cms_hcc_v28", 2026)
        samples = ROOT / "data_samples"
        model.score(samples / "members.csv", samples / "diagnoses.csv")
        with tempfile.TemporaryDirectory() as out:
            start, cpu = time.perf_counter(), cpu_seconds()
            result = model.score(folder / "members.parquet", folder / "diagnoses.parquet", threads=1)
            result.write(Path(out) / "scores.parquet")
            return time.perf_counter() - start, cpu_seconds() - cpu
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
    parser.add_argument("folder", type=Path, help="with members.parquet and diagnoses.parquet")
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("MODE", "CORES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print("seconds", *one_run(args.folder, int(args.one[1]), args.buckets, args.one[0]))
        return
    kinds = [("engine", 1), ("bucket", 1), ("score", 1), ("score", 2), ("shuffle", 1), ("shuffle", 2)]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(args.rounds):
        for mode, cores in kinds:  # in turn, so that a busy minute does not hit one kind alone
            command = [sys.executable, "-m", "benchmarks.spark_scaling", str(args.folder)]
            command += ["--buckets", str(args.buckets), "--one", mode, str(cores)]
            done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
            said = done.stdout.splitlines()
            seconds = next(line for line in said if line.startswith("seconds"))
            wall, cpu = map(float, seconds.split()[1:])
            found[mode, cores].append((wall, cpu))
            notes = "; ".join(line for line in said if line.startswith("note"))
            print(f"{mode} {cores}: {wall:.1f} s, CPU {cpu:.1f} s {notes}", flush=True)
    for (mode, cores), runs in found.items():
        wall, cpu = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"{mode:8} local[{cores}]  medians of {len(runs)}: {wall:6.1f} s, CPU {cpu:6.1f} s")


if __name__ == "__main__":
    main()
