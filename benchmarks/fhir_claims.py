"""FHIR claims to claim lines: hccore against orjson parsing every line of the file and nothing else.

    python -m benchmarks.fhir_claims FOLDER [MEGABYTES [SAMPLE.ndjson]]

writes `eob-MEGABYTES.ndjson` into the folder once: the claims of the sample, each with an id of its own, again and
again. Without a sample, the claims are Blue Button's own responses in the tests. Then both run in turn, each in a
process of its own, and the ratios of each round and their medians are printed. Every claim must be read.

The ratio of processor time (all processes together) holds on a busy machine. That of wall time needs idle cores.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROUNDS = 5
_RESPONSES = Path(__file__).parent.parent / "tests" / "claims" / "readers" / "fhir"
_ID = '"id":"benchmark-'


def sample_claims(sample: Path | None) -> list[dict[str, Any]]:
    """The claims of an NDJSON file, or Blue Button's own responses."""
    if sample is None:
        return [json.loads(path.read_bytes()) for path in sorted(_RESPONSES.glob("bfd_*_eob*.json"))]
    return [json.loads(line) for line in sample.read_bytes().splitlines() if line.strip()]


def write_claims(path: Path, size: int, claims: list[dict[str, Any]]) -> None:
    """Repeat claims until the file has at least `size` bytes."""
    texts = []
    for claim in claims:
        body = json.dumps(
            {name: value for name, value in claim.items() if name != "id"}, separators=(",", ":")
        )
        texts.append(body[1:])
    written = number = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            number += 1
            written += file.write(f'{{{_ID}{number}",{texts[number % len(texts)]}\n')


def run_orjson(path: Path) -> int:
    """Parse every line; how many there are."""
    from orjson import loads

    count = 0
    with path.open("rb") as file:
        for line in file:
            count += loads(line)["resourceType"] == "ExplanationOfBenefit"
    return count


def run_hccore(path: Path) -> int:
    """Read the claim lines; how many claims they are of."""
    from hccore.claims.readers import ReadContext, fhir

    count, last = 0, 0
    for batch in fhir.read([path], ReadContext()):
        for row in batch.column("source_row").unique().to_pylist():
            count += row != last
            last = row
    return count


RUNS = {"orjson": run_orjson, "hccore": run_hccore}


def measure(name: str, path: Path) -> dict[str, float]:
    """Wall and processor seconds of a run with its child processes, without imports of the main process."""
    started = time.perf_counter()
    before = _processor_seconds()
    claims = RUNS[name](path)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": _processor_seconds() - before,
        "claims": claims,
    }


def _processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(arguments: list[str]) -> None:
    """Write the claims once, run both in turn, and print the ratios."""
    if len(arguments) == 2 and arguments[0] in RUNS:
        print(json.dumps(measure(arguments[0], Path(arguments[1]))))
        return
    megabytes = int(arguments[1]) if len(arguments) > 1 else 1000
    path = Path(arguments[0]) / f"eob-{megabytes}.ndjson"
    if not path.exists():
        sample = Path(arguments[2]) if len(arguments) > 2 else None
        write_claims(path, megabytes * 1_000_000, sample_claims(sample))
    ratios: dict[str, list[float]] = {"seconds": [], "cpu_seconds": []}
    for number in range(1, ROUNDS + 1):
        found = {}
        for name in RUNS:
            command = [sys.executable, "-m", "benchmarks.fhir_claims", name, str(path)]
            found[name] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        if found["orjson"]["claims"] != found["hccore"]["claims"]:
            raise SystemExit(f"claims differ: {found}")
        for key, values in ratios.items():
            values.append(found["hccore"][key] / found["orjson"][key])
        print(f"round {number}: {found}", flush=True)
    for key, values in ratios.items():
        print(f"{key:12} hccore / orjson: median {statistics.median(values):.2f}", end="")
        print(f" of {', '.join(f'{value:.2f}' for value in sorted(values))}")


if __name__ == "__main__":
    main(sys.argv[1:])
