"""Claim lines to eligible diagnoses: hccore against the same filter in tuned DuckDB SQL. Results are compared.

    python -m benchmarks.eligibility FOLDER [LINES]

writes `claims-LINES.parquet` into the folder once, then runs both in turn, each in a process of its own, and
prints seconds and peak memory. The SQL covers original, replacement and void claims that name a claim id, and all
tests of Medicare Advantage. Its counted diagnoses must be those of hccore.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from hccore.claims.eligibility.rules import load_rules
from hccore.claims.lines import DIAGNOSIS, LINES

YEAR = 2026
CHUNK_CLAIMS = 1 << 19
LINES_PER_MEMBER = 50
_LINES_PER_CLAIM = np.array([1, 1, 2, 2, 3, 4, 8])


def write_claims(path: Path, lines: int, seed: int = 1) -> None:
    """Write a Parquet file of about `lines` claim lines, claims in random order of members."""
    random = np.random.default_rng(seed)
    rules = load_rules("ma", YEAR)
    listed = sorted(rules.lists[YEAR - 1].known)
    codes = sorted(rules.validity.spells)
    texts = {
        "hcpcs": [*listed, *(f"A{number:04}" for number in range(3000))],
        "codes": codes,
        "bill_type": ["111", "131", "0131", "851", "211", "711"],
        "claim_type": ["professional", "inpatient", "outpatient", "other"],
        "version": ["original", "replacement", "void"],
    }
    done = 0
    schema = LINES.remove(LINES.get_field_index("diagnoses")).append(
        pa.field("diagnoses", pa.list_(DIAGNOSIS))
    )
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        first_claim = 0
        while done < lines:
            table = _chunk(random, texts, first_claim, max(1, lines // LINES_PER_MEMBER), schema)
            writer.write_table(table, row_group_size=1 << 20)
            done += table.num_rows
            first_claim += CHUNK_CLAIMS


def _chunk(
    random: Any, texts: dict[str, list[str]], first_claim: int, members: int, schema: pa.Schema
) -> pa.Table:
    """One chunk of claims. 2 % replace and 1 % void a claim of the same member a little earlier."""
    n = CHUNK_CLAIMS
    member = random.integers(0, members, n)
    kind = random.choice(4, n, p=[0.84, 0.04, 0.10, 0.02])
    bill = np.where(kind == 1, random.choice([0, 4], n, p=[0.9, 0.1]), random.choice([1, 2, 3, 4, 5], n))
    version = random.choice(3, n, p=[0.97, 0.02, 0.01])
    named = np.maximum(0, np.arange(n) - random.integers(1, 50, n))
    acting = version > 0
    acting &= ~acting[named]
    once = np.zeros(n, np.bool_)  # one void or replacement names a claim: the SQL knows no more
    once[np.unique(np.where(acting, named, -1), return_index=True)[1]] = True
    acting &= once
    version[~acting] = 0
    member[acting] = member[named[acting]]
    day = 20089 + random.integers(-30, 395, n)  # 2024-12-02 to 2025-12-31
    per_claim = random.choice(_LINES_PER_CLAIM, n)
    claim = np.repeat(np.arange(n), per_claim)
    rows = len(claim)
    number = np.arange(rows) - np.repeat(np.cumsum(per_claim) - per_claim, per_claim)
    usual = random.integers(0, len(texts["hcpcs"]) - 3000, rows)
    other = len(texts["hcpcs"]) - 3000 + random.integers(0, 3000, rows)
    hcpcs = np.where(random.random(rows) < 0.4, usual, other)
    columns = {
        "source": pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["claims"]),
        "source_row": pa.array(np.arange(rows) + 1),
        "member_id": _ids("M", member, 9).take(pa.array(claim)),
        "claim_id": _ids("C", first_claim + np.arange(n), 12).take(pa.array(claim)),
        "claim_line": pa.array((number + 1).astype(np.int32)),
        "claim_type": _coded(kind[claim], texts["claim_type"]),
        "version": _coded(version[claim], texts["version"]),
        "replaces": _ids("C", first_claim + named, 12, acting).take(pa.array(claim)),
        "effective_date": pa.array(day[claim] + 20, pa.int32()).cast(pa.date32()),
        "from_date": pa.array(day[claim], pa.int32()).cast(pa.date32()),
        "thru_date": pa.array((day + (kind == 1) * 5)[claim], pa.int32()).cast(pa.date32()),
        "line_from_date": pa.array(day[claim], pa.int32()).cast(pa.date32()),
        "line_thru_date": pa.array(day[claim], pa.int32()).cast(pa.date32()),
        "bill_type": _coded(bill[claim], texts["bill_type"], (kind[claim] == 1) | (kind[claim] == 2)),
        "hcpcs": _coded(hcpcs, texts["hcpcs"]),
        "modifiers": _modifiers(random, rows),
        "denied": _coded(np.zeros(rows, np.int64), ["no"]),
        "diagnoses": _diagnoses(random, texts["codes"], claim, n),
    }
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _ids(prefix: str, numbers: Any, width: int, valid: Any = None) -> Any:
    texts = pa.array([f"{prefix}{number:0{width}}" for number in numbers.tolist()])
    return texts if valid is None else pa.compute.if_else(pa.array(valid), texts, None)


def _coded(numbers: Any, texts: list[str], valid: Any = None) -> Any:
    indices = pa.array(numbers.astype(np.int32), mask=None if valid is None else ~valid)
    return pa.DictionaryArray.from_arrays(indices, texts)


def _modifiers(random: Any, rows: int) -> Any:
    has = random.random(rows) < 0.2
    offsets = np.concatenate([[0], np.cumsum(has)]).astype(np.int32)
    values = _coded(random.choice(3, int(has.sum()), p=[0.8, 0.15, 0.05]), ["25", "95", "93"]).cast(
        pa.string()
    )
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _diagnoses(random: Any, codes: list[str], claim: Any, claims: int) -> Any:
    """One to eight diagnoses of each claim, repeated on its lines. A few hundred codes are frequent."""
    count = random.integers(1, 9, claims)
    start = np.concatenate([[0], np.cumsum(count)])
    total = int(start[-1])
    frequent = random.integers(0, 400, total) * 150
    code = np.where(random.random(total) < 0.7, frequent, random.integers(0, len(codes), total))
    role = np.ones(total, np.int64)
    role[start[:-1]] = 0
    role[random.random(total) < 0.03] = 2
    position = np.arange(int(count[claim].sum()))
    line_start = np.concatenate([[0], np.cumsum(count[claim])])
    entry = position - np.repeat(line_start[:-1] - start[claim], count[claim])
    fields = {
        "code": _coded(code[entry], codes).cast(pa.string()),
        "icd_version": pa.array(np.full(len(entry), 10, np.int8)),
        "role": _coded(role[entry], ["principal", "other", "admitting"]).cast(pa.string()),
        "present_on_admission": pa.nulls(len(entry), pa.string()),
        "pointed": pa.nulls(len(entry), pa.bool_()),
    }
    structs = pa.StructArray.from_arrays(list(fields.values()), fields=list(DIAGNOSIS))
    return pa.ListArray.from_arrays(pa.array(line_start.astype(np.int32)), structs)


# ---------------------------------------------------------------- the yardstick


def duckdb_sql(path: Path) -> str:
    """The filter in SQL. Tables `listed`, `bill_rules` and `validity` hold the rules."""
    return f"""
create temp table claims as
select member_id, claim_id, any_value(version) as version, any_value(replaces) as replaces,
  any_value(claim_type) as claim_type, any_value(bill_type) as bill_type,
  case when any_value(claim_type) in ('inpatient', 'outpatient') then max(thru_date)
       else max(line_thru_date) end as service_date,
  min(case when l.code is not null then claim_line end) as claim_line,
  any_value(diagnoses) as diagnoses
from (
  select member_id, claim_id, version, replaces, claim_type, bill_type, thru_date, line_thru_date, claim_line,
    hcpcs, [{{'code': d.code, 'role': d.role, 'version': d.icd_version}} for d in diagnoses] as diagnoses
  from read_parquet('{path}')) lines
left join listed l on l.code = lines.hcpcs
group by member_id, claim_id;

create temp table named as
select member_id, replaces as claim_id, max(version = 'void') as voided from claims
where version <> 'original' group by all;

create temp table states as
select c.*, case
  when c.version = 'void' then case when o.claim_id is null then 'held' else 'voided' end
  when n.claim_id is not null then case when n.voided then 'voided' else 'not_final_version' end
  when c.version = 'replacement' and o.claim_id is null then 'held'
  when c.service_date is null or c.service_date not between date '{YEAR - 1}-01-01' and date '{YEAR - 1}-12-31'
    then 'outside_window'
  when c.claim_type = 'other' then 'record_type'
  when c.claim_type <> 'professional' and b.kind is null then 'bill_type'
  when coalesce(b.needs_line, true) and c.claim_line is null then 'no_eligible_line'
  else '' end as claim_reason
from claims c
left join named n on n.member_id = c.member_id and n.claim_id = c.claim_id
left join (select distinct member_id, claim_id from claims) o
  on c.version <> 'original' and o.member_id = c.member_id and o.claim_id = c.replaces
left join bill_rules b on c.claim_type in ('inpatient', 'outpatient')
  and b.kind = substr(case when length(c.bill_type) = 4 then substr(c.bill_type, 2) else c.bill_type end, 1, 2);

create temp table result as
select member_id, d.icd10, service_date, claim_id, claim_line, claim_type, case
  when claim_reason <> '' then claim_reason
  when d.role > 1 then 'diagnosis_role'
  when d.icd_version <> 10 then 'icd_version'
  when v.code is null and service_date <= date '2026-09-30' then 'invalid_code_on_date'
  else '' end as reason
from (
  select member_id, claim_id, service_date, claim_line, claim_type, claim_reason,
    unnest(list_filter(sorted, lambda x, i: i = 1 or sorted[i - 1].icd10 <> x.icd10)) as d
  from (
    select *, list_sort(list_distinct([{{
      'icd10': d.code, 'role': list_position(['principal', 'other', 'admitting'], d.role) - 1,
      'icd_version': d.version
    }} for d in diagnoses])) as sorted
    from states))
left join validity v on v.code = d.icd10 and service_date between v.first_day and v.last_day;
"""


def run_duckdb(path: Path) -> dict[str, int]:
    """Run the yardstick; diagnoses by reason."""
    import duckdb

    rules = load_rules("ma", YEAR)
    connection = duckdb.connect()
    connection.execute("set preserve_insertion_order = false; set memory_limit = '6GB'")
    listed = pa.table({"code": sorted(rules.lists[YEAR - 1].known)})  # noqa: F841 - DuckDB finds the variable
    bill_rules = pa.table(  # noqa: F841
        {
            "kind": list(rules.bill_types),
            "needs_line": [rule.needs_line for rule in rules.bill_types.values()],
        }
    )
    spells = [(code, *spell) for code, found in rules.validity.spells.items() for spell in found]
    days = [
        pa.array([min(spell[i], 100000) for spell in spells], pa.int32()).cast(pa.date32()) for i in (1, 2)
    ]
    validity = pa.table(  # noqa: F841
        {"code": [spell[0] for spell in spells], "first_day": days[0], "last_day": days[1]}
    )
    connection.execute(duckdb_sql(path))
    rows = connection.execute("select reason, count(*) from result group by reason").fetchall()
    return dict(rows)


def run_hccore(path: Path) -> dict[str, int]:
    """Run hccore; diagnoses by reason."""
    from hccore.claims import eligible

    counts: dict[str, int] = eligible(path, year=YEAR).funnel.by_reason("diagnoses")
    return counts


RUNS = {"hccore": run_hccore, "duckdb": run_duckdb}


def main(arguments: list[str]) -> None:
    """Write the claims once, run each contender three times in turn, and print the medians."""
    if len(arguments) == 2 and arguments[0] in RUNS:
        started = time.perf_counter()
        counts = RUNS[arguments[0]](Path(arguments[1]))
        usage = resource.getrusage(resource.RUSAGE_SELF)
        found = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "mebibytes": usage.ru_maxrss / 1024,
            "counts": dict(sorted(counts.items())),
        }
        print(json.dumps(found))
        return
    lines = int(float(arguments[1])) if len(arguments) > 1 else 50_000_000
    path = Path(arguments[0]) / f"claims-{lines}.parquet"
    if not path.exists():
        write_claims(path, lines)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in RUNS}
    for _ in range(3):
        for name in RUNS:
            command = [sys.executable, "-m", "benchmarks.eligibility", name, str(path)]
            results[name].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    for name, runs in results.items():
        seconds, cpu = (sorted(run[key] for run in runs)[1] for key in ("seconds", "cpu_seconds"))
        memory = max(run["mebibytes"] for run in runs)
        print(f"{name:8} {seconds:8.1f} s {cpu:8.1f} s of processors {memory:8.0f} MiB")
    print("same counts:", results["hccore"][0]["counts"] == results["duckdb"][0]["counts"])
    print(json.dumps(results["hccore"][0]["counts"]))


if __name__ == "__main__":
    main(sys.argv[1:])
