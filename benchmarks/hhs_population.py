"""Generates a synthetic population for the HHS models: `python -m benchmarks.hhs_population --members 100000 ...`.

It has infants, children and adults with metal levels and cost-sharing indicators, dated diagnoses, and drugs by
NDC and HCPCS. As in `population.py`, frequencies are rough estimates and nothing comes from a real person.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.population import (
    CLUSTERS,
    SEED,
    Ints,
    Population,
    code_book,
    draw_counts,
    draw_rows,
    member_ids,
    member_table,
    text_array,
    write_csv,
    write_population,
)
from hccore.tables.loading import load_tables
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import ModelTables

MODEL, YEAR = "hhs_hcc", 2026
METALS = {"platinum": 0.03, "gold": 0.15, "silver": 0.55, "bronze": 0.26, "catastrophic": 0.01}
NO_REDUCTION = 0.55  # share of members with CSR indicator 1
# Rows per member, share of rows with a code of the model, number of other codes.
DRUGS = {"ndc": (4.0, 0.12, 20_000), "hcpcs": (3.0, 0.03, 3_000)}


@dataclass
class Drugs:
    """The rows of one table of drug codes.

    Attributes
    ----------
    member, code : int32[n_rows]
        Positions in the members and in `codes`.
    codes : list of str
    """

    member: NDArray[np.int32]
    code: NDArray[np.int32]
    codes: list[str]


@dataclass
class HhsPopulation(Population):
    """A population with dated diagnoses and with drugs by NDC and HCPCS."""

    drugs: dict[str, Drugs]

    @property
    def service_year(self) -> int:
        """The year of the diagnoses: HHS uses those of the benefit year."""
        return self.year

    def columns(self) -> dict[str, Any]:
        """The member columns except the id, as Arrow arrays."""
        facts = self.members
        return {
            "birth_date": pa.array(facts["birth_date"]),
            "age_last": pa.array(facts["age"].astype(np.int16)),
            "sex": text_array(["M", "F"], facts["sex"]),
            "metal": text_array(list(METALS), facts["metal"]),
            "csr_indicator": pa.array(facts["csr_indicator"]),
            "enrollment_months": pa.array(facts["enrollment_months"]),
        }


def draw_members(n: int, rng: np.random.Generator, tables: ModelTables) -> dict[str, Any]:
    """Draw the facts of n members as of the end of the benefit year."""
    age_group = rng.choice(3, n, p=[0.02, 0.18, 0.80])  # infants, children, adults
    age = np.select([age_group == 0, age_group == 1], [rng.integers(0, 2, n), rng.integers(2, 21, n)], 0)
    age = np.where(age_group == 2, 21 + (rng.beta(1.6, 1.0, n) * 44).astype(np.int64), age)
    metal = rng.choice(len(METALS), n, p=list(METALS.values())).astype(np.int8)
    indicator = np.ones(n, np.int8)
    reduced = rng.random(n) > NO_REDUCTION
    for number, name in enumerate(METALS):
        given = [
            csr
            for csr in range(2, COLUMNS["csr_indicator"].high + 1)
            if any(
                row.condition({"metal": COLUMNS["metal"].labels[name], "csr_indicator": csr})
                for row in tables.multipliers
            )
        ]
        if given:
            here = np.flatnonzero(reduced & (metal == number))
            indicator[here] = rng.choice(given, len(here))
    last = np.datetime64(f"{tables.year}-12-31", "D")
    birthday = (tables.year - age - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    born = np.minimum(birthday + rng.integers(0, 365, n).astype("timedelta64[D]"), last)
    months = np.where(rng.random(n) < 0.7, 12, rng.integers(1, 12, n))
    return {
        "birth_date": born,
        "age": age,
        "sex": (rng.random(n) < 0.53).astype(np.int8),
        "metal": metal,
        "csr_indicator": indicator,
        "enrollment_months": months.astype(np.int8),
        "new_enrollee": months < 6,  # draw_counts gives them fewer rows
        "cluster": rng.choice(len(CLUSTERS), n, p=[share for share, _, _ in CLUSTERS]).astype(np.int8),
    }


def draw_drugs(system: str, n: int, rng: np.random.Generator, tables: ModelTables) -> Drugs:
    """Draw the rows of one table of drugs. Code frequencies are Zipf-like."""
    rows, share, others = DRUGS[system]
    known = sorted(tables.codes[system])
    made_up = {f"{number:011d}" if system == "ndc" else f"{number:05d}" for number in range(1, others + 1)}
    codes = [known[i] for i in rng.permutation(len(known))] + sorted(made_up - {*known})
    counts = rng.poisson(rng.gamma(0.6, rows / 0.6, n))
    member = np.repeat(np.arange(n, dtype=np.int32), counts)
    pays = rng.random(len(member)) < share

    def zipf(size: int, how_many: int) -> Ints:
        cumulative = np.cumsum((np.arange(size) + 4.0) ** -1.05)
        return np.searchsorted(cumulative / cumulative[-1], rng.random(how_many))

    code = np.empty(len(member), np.int32)
    code[pays] = zipf(len(known), int(pays.sum()))
    code[~pays] = len(known) + zipf(len(codes) - len(known), int((~pays).sum()))
    order = rng.permutation(len(member))
    return Drugs(member[order], code[order], codes)


def make_hhs_population(
    n: int, *, seed: int = SEED, model: str = MODEL, year: int = YEAR, made_up: int = 12_600
) -> HhsPopulation:
    """Draw a population. The parameters are those of `make_population`."""
    tables = load_tables(model, year)
    book = code_book(model, year, seed, made_up)
    rng = np.random.default_rng([seed, 10])
    members = draw_members(n, rng, tables)
    rows = draw_rows(members, draw_counts(members, rng), book, rng)
    drugs = {system: draw_drugs(system, n, rng, tables) for system in DRUGS}
    return HhsPopulation(members, rows, book, year, seed, drugs)


def write_hhs_population(population: HhsPopulation, out: Path, *, ids: str = "string") -> list[Path]:
    """Write members, diagnoses, ndc and hcpcs as Parquet files into a folder and return the paths."""
    paths = [*write_population(population, out, ids=ids)]
    names = member_ids(len(population), ids, population.seed)
    for system, drugs in population.drugs.items():
        paths.append(out / f"{system}.parquet")
        table = {
            "member_id": names.take(pa.array(drugs.member)),
            system: pa.DictionaryArray.from_arrays(drugs.code, pa.array(drugs.codes)),
        }
        pq.write_table(pa.table(table), paths[-1], store_schema=False)
    return paths


# ----------------------------------------------------------------- the small sample

# Number of members in data_samples/hhs by group. Adults are grouped by metal level.
SAMPLE = {
    "infant": 12,
    "child": 38,
    "platinum": 12,
    "gold": 26,
    "silver": 70,
    "bronze": 34,
    "catastrophic": 8,
}
# Newborns have a code for their birth, which draws no category alone, or one for prematurity.
BIRTH_CODES = ["Z3800", "Z3800", "Z3801", "P0718", "P0737", "P0730"]


def write_hhs_sample(out: Path, seed: int = SEED) -> None:
    """Write the small CSV population of `data_samples/hhs`: members, diagnoses, ndc and hcpcs."""
    population = make_hhs_population(20_000, seed=seed, made_up=0)
    facts = population.members
    metal = np.array(list(METALS))[facts["metal"]]
    group = np.select([facts["age"] < 2, facts["age"] < 21], ["infant", "child"], metal)
    chosen = np.sort(np.concatenate([np.flatnonzero(group == name)[:n] for name, n in SAMPLE.items()]))
    ids = {int(member): f"H{number:04d}" for number, member in enumerate(chosen, 1)}
    table = member_table(population, member_ids(len(population), "string", seed))
    people = table.take(pa.array(chosen)).drop_columns("age_last").to_pylist()
    for person, name in zip(people, ids.values(), strict=True):
        person["member_id"] = name

    rng = np.random.default_rng([seed, 11])
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "members.csv", list(people[0]), [list(person.values()) for person in people])
    lines = _sample_diagnoses(population, ids, rng)
    lines += [
        [person["member_id"], str(rng.choice(BIRTH_CODES)), person["birth_date"]]
        for person in people
        if person["birth_date"].year == population.year
    ]
    unknown = ["E11.9", f"{population.year}-04-11"]
    _write_shuffled(out / "diagnoses.csv", ["icd10", "service_date"], lines, unknown, rng)
    for system, drugs in population.drugs.items():
        rows = np.flatnonzero(np.isin(drugs.member, chosen))
        lines = [[ids[int(drugs.member[row])], drugs.codes[drugs.code[row]]] for row in rows]
        _write_shuffled(out / f"{system}.csv", [system], lines, [drugs.codes[0]], rng)


def _sample_diagnoses(
    population: HhsPopulation, ids: dict[int, str], rng: np.random.Generator
) -> list[list[Any]]:
    """The diagnosis rows of some members. One in a hundred is of the year before, which does not count.

    Conditions are drawn as for adults, so that children have fewer payment codes here, and infants very few.
    """
    rows, age = population.rows, population.members["age"]
    left_out = np.select([age < 2, age < 21], [0.9, 0.6], 0.0)  # share of the payment codes
    first = np.datetime64(f"{population.year}-01-01", "D")
    lines: list[list[Any]] = []
    for row in np.flatnonzero(np.isin(rows.member, list(ids))):
        member = int(rows.member[row])
        code = population.book.codes[rows.code[row]]
        if rows.code[row] < population.book.paying and rng.random() < left_out[member]:
            continue
        if rng.random() < 0.3 and len(code) > 3:
            code = f"{code[:3]}.{code[3:]}"
        day = first + np.timedelta64(int(rows.claim_day[rows.claim[row]]), "D")
        if rng.random() < 0.01:
            day -= np.timedelta64(365, "D")
        lines.append([ids[member], code, max(day, population.members["birth_date"][member])])
    return lines


def _write_shuffled(
    path: Path, columns: list[str], lines: list[list[Any]], unknown: list[str], rng: np.random.Generator
) -> None:
    """Write rows in random order, a few of them twice, and one (`unknown`) of a member who does not exist."""
    again = [lines[row] for row in rng.integers(0, len(lines), 6)]
    every = [*lines, *again, ["H9999", *unknown]]
    write_csv(path, ["member_id", *columns], [every[row] for row in rng.permutation(len(every))])


# ------------------------------------------------------------------- command line


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hhs_population", description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="folder for the four Parquet files")
    parser.add_argument("--sample", type=Path, help="write the small CSV sample into this folder instead")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--year", type=int, default=YEAR)
    args = parser.parse_args(argv)
    if args.sample:
        write_hhs_sample(args.sample, args.seed)
        return 0
    if not args.out:
        parser.error("--out or --sample is needed")
    population = make_hhs_population(args.members, seed=args.seed, year=args.year)
    write_hhs_population(population, args.out)
    drugs = ", ".join(f"{len(rows.member):,} {name} rows" for name, rows in population.drugs.items())
    print(f"{len(population):,} members, {len(population.rows.member):,} diagnosis rows, {drugs}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
