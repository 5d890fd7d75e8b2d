"""Compares two JSON files of pytest-benchmark: `python -m benchmarks.compare BEFORE.json AFTER.json`.

Every benchmark is divided by the floor of its group in the same file (`extra_info["floor"]`), so machines of
different speed can be compared. Groups without a floor are left out. Ends with 1 if a ratio grew by more than
`--limit`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIMIT = 1.25


def ratios(run: Mapping[str, Any]) -> dict[str, float]:
    """The ratio of every benchmark to the floor of its group, by name. The shortest run of each counts."""
    floors = {_group(one): one["stats"]["min"] for one in run["benchmarks"] if one["extra_info"].get("floor")}
    return {
        one["fullname"]: one["stats"]["min"] / floors[_group(one)]
        for one in run["benchmarks"]
        if _group(one) in floors and not one["extra_info"].get("floor")
    }


def _group(benchmark: Mapping[str, Any]) -> tuple[str, Any]:
    return benchmark["group"], benchmark["extra_info"].get("members")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument(
        "--limit", type=float, default=LIMIT, help="the largest growth of a ratio that passes"
    )
    args = parser.parse_args(argv)
    before, after = (
        ratios(json.loads(path.read_text(encoding="utf-8"))) for path in (args.before, args.after)
    )
    both = [name for name in after if name in before]
    if not both:
        print("no benchmark with a floor is in both files", file=sys.stderr)
        return 1
    print("| benchmark | before / floor | after / floor | change |\n| --- | ---: | ---: | ---: |")
    slower = 0
    for name in both:
        change = after[name] / before[name]
        slower += change > args.limit
        print(f"| {name} | {before[name]:.3f} | {after[name]:.3f} | {change - 1:+.0%} |")
    if slower:
        print(f"{slower} ratios grew by more than {args.limit - 1:.0%}", file=sys.stderr)
    return int(slower > 0)


if __name__ == "__main__":
    sys.exit(main())
