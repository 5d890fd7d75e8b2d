"""Generates a synthetic Medicare population: `python -m benchmarks.population --members 1000000 --out DIR`.

Nothing here comes from a real person. Frequencies are rough estimates, because a benchmark needs only the order of
magnitude. Members have 11 diagnosis rows on average, with a heavy tail: the count is Poisson, with a rate that is
a gamma times a lognormal variable. Conditions repeat over the year. About a quarter of the rows have a payment
code of the chosen model, and code frequencies are Zipf-like within each category. The same seed and size give the
same population, for every order of rows and type of ids.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hccore.tables.loading import load_tables

Ints = NDArray[np.integer[Any]]

MODEL, YEAR, SEED = "cms_hcc_v28", 2026, 20260201
MEAN_ROWS, MAX_ROWS = 11.2, 400  # per member; with the maximum, the mean is 11.0
BLOCK_MEMBERS = 1 << 20  # drawn at a time

# Frequent payment codes with weights. A category has the weight of its codes here, but at least MIN_WEIGHT. These
# codes are the most frequent ones of their category. Codes that the model does not map are ignored.
MIN_WEIGHT = 1.5
PAYMENT_CODES = """
E119 70 E1122 42 E1165 40 E1142 30 E1151 18 E1169 12 E1140 10 E11319 8 E1121 7 E118 3 E1065 4 E109 3 E6601 60
Z6841 20 I4891 55 I480 30 I4820 14 I4821 8 I4811 6 I495 9 I509 25 I110 22 I5032 16 I130 14 I5022 10 I5033 6
I5030 6 I5020 5 I5023 4 I5042 3 I132 1 I429 8 I255 7 I420 4 I428 3 I739 28 I70211 5 I82409 3 I2699 4 I214 8
I639 10 I69354 4 I619 2 G8191 2 J449 55 J441 14 J439 10 J479 6 J440 5 J8410 4 J9611 16 J9601 9 J9610 4 J9621 3
N1830 22 N1831 22 N1832 14 N184 10 N186 8 Z992 6 N185 3 F331 9 F319 8 F330 7 F209 5 F259 4 F332 3 F3341 3
F200 2 F0390 16 F0280 9 G309 9 F0150 5 G20A1 9 G35 4 G40909 7 C61 30 C50912 9 C50911 8 C3490 6 C189 5 C679 5
C7951 5 C9000 4 C9110 4 C649 4 C787 3 C8330 2 C439 2 C7800 2 M069 18 L4050 5 M0579 4 M329 4 H353231 6
H353211 6 E113511 3 D849 8 D6869 3 K7460 5 K7290 2 B182 3 K5190 6 K5090 4 A419 16 R6521 3 J690 4 M4626 1
L89153 2 L97509 4 S72001A 3 Z89511 2 Z931 2 Z932 1 F1120 8 F1020 7 F1021 3 E43 5 B20 3 Z940 4 Z941 1 D571 1
G931 2 Q909 1 K8681 1 D469 2 S32010A 3 G7000 2 N049 1
"""
# Frequent codes that most models do not pay, the most frequent first.
OTHER_CODES = """
I10 E785 Z0000 Z23 Z79899 K219 E559 Z1231 E039 E782 N390 I2510 Z87891 R0602 M5450 G4733 Z0001 Z794 R5383 M1711
M1712 R079 H2513 Z1211 M25561 M25562 E7800 N400 F411 F32A R42 M810 Z7901 L821 L570 D649 N401 R059 J069 M48061
K5900 H524 Z136 Z9181 R7303 E538 Z961 H04123 H401131 M5416 I340 I350 R609 R1310 K5730 Z860100 Z85828 Z955 Z950
B351 L84 H903 J309 R109 M542 N3281 R339 R351 R7309 Z6830 Z6835 M179 M1990 E875 E876 D509 D638 I872 I8390 R55
R2681 R262 R296 R413 F17210 F439 G8929 G894 G2581 G629 J189 J209 J302 U071 Z20822 K449 K5792 K8020 N281 N200
L309 L219 C44319 C4491 D225 D485 M722 M7742 M797 M51360 M51370 S0990XA W19XXXA Y92009 Z7982 Z7984 Z8546 Z853
Z8673 Z8679 Z9221 Z923 Z9049 Z96651 Z96652 Z96641 Z471 Z5181 Z5189 Z741 Z7409 H6123 H9201 H353110 H43813
I779 I6529 I447 I4510 I4949 R000 R001 I358 N189 N183 R809 R911 R918 R748 R509 R197 E049 E041 E213 E291 E669
"""
MEN_ONLY, WOMEN_ONLY = (
    ("C61", "C60", "N40", "N41", "N52", "Z8546"),
    ("N95", "N81", "Z1231", "C53", "C54", "C56"),
)
# Clusters of members with similar diseases: share of members, share of payment codes, weights of ICD-10 chapters.
CLUSTERS: tuple[tuple[float, float, dict[str, float]], ...] = (
    (0.34, 0.17, {}),
    (0.18, 0.23, {}),
    (0.23, 0.33, {"E": 3.0, "I": 3.0, "N": 4.0, "Z": 0.7}),
    (0.09, 0.30, {"J": 5.0}),
    (0.07, 0.30, {"C": 6.0, "D": 3.0}),
    (0.09, 0.30, {"F": 5.0, "G": 4.0}),
)
MADE_UP = 12_600  # made-up codes without payment, about as many as a million members have
CLAIM_TYPES = (("professional", 0.74), ("outpatient", 0.20), ("inpatient", 0.06))


@dataclass(frozen=True)
class CodeBook:
    """The codes of a population, and their distribution for each cluster and sex.

    Attributes
    ----------
    codes : list of str
        Payment codes come first.
    paying : int
        Number of payment codes.
    cumulative : float64[n_clusters * 2, n_codes]
        Cumulative probabilities. Row `2 * cluster + (1 if female)`.
    """

    codes: list[str]
    paying: int
    cumulative: NDArray[np.float64]


def code_book(model: str, year: int, seed: int, made_up: int = MADE_UP) -> CodeBook:
    """Choose the codes of the population and their frequencies.

    Parameters
    ----------
    model, year
        The model that defines the payment codes.
    seed : int
    made_up : int
        Number of made-up codes without payment, in addition to the frequent ones.
    """
    rng = np.random.default_rng([seed, 1])
    listed = PAYMENT_CODES.split()
    weight_of = dict(zip(listed[::2], map(float, listed[1::2]), strict=True))
    by_category: dict[str, list[str]] = {}
    mapping = load_tables(model, year).codes["icd10cm"]
    for code, targets in mapping.items():
        by_category.setdefault(targets[0].category, []).append(code)

    codes: list[str] = []
    weights: list[float] = []
    for category in sorted(by_category):
        in_category = sorted(by_category[category])
        shuffled = [in_category[i] for i in rng.permutation(len(in_category))]
        ranked = sorted(shuffled, key=lambda code: -weight_of.get(code, 0.0))
        zipf = np.arange(1, len(ranked) + 1) ** -1.2
        total = max(sum(weight_of.get(code, 0.0) for code in ranked), MIN_WEIGHT)
        codes += ranked
        weights += list(zipf / zipf.sum() * total)
    paying = len(codes)

    others = [code for code in OTHER_CODES.split() if code not in mapping]
    codes += others + _made_up_codes(rng, made_up, {*mapping, *others})
    rank = np.arange(len(codes) - paying)
    weight = np.concatenate([weights, (rank + 4.0) ** -1.05])

    rows = []
    for _, share, chapters in CLUSTERS:
        for excluded in (WOMEN_ONLY, MEN_ONLY):
            row = weight * [chapters.get(code[0], 1.0) for code in codes]
            row[paying:] = weight[paying:]
            row[[i for i, code in enumerate(codes) if code.startswith(excluded)]] = 0.0
            row[:paying] *= share / row[:paying].sum()
            row[paying:] *= (1 - share) / row[paying:].sum()
            rows.append(np.cumsum(row) / row.sum())
    return CodeBook(codes, paying, np.array(rows))


def _made_up_codes(rng: np.random.Generator, n: int, taken: set[str]) -> list[str]:
    """Draw distinct codes that look like ICD-10-CM and are not among those taken."""
    codes: dict[str, None] = {}
    while len(codes) < n:
        letter = "ABCDEFGHIJKLMNQRSTVWYZ"[rng.integers(22)]
        code = letter + "".join(str(digit) for digit in rng.integers(0, 10, rng.integers(3, 7)))
        if letter in "ST":
            code = f"{code:0<6}"[:6] + "ADS"[rng.integers(3)]
        if code not in taken:
            codes[code] = None
    return list(codes)


def draw_members(n: int, rng: np.random.Generator, year: int) -> dict[str, Any]:
    """Draw the facts of n members in the payment year. They do not depend on the ids."""

    def chance(probability: Any) -> NDArray[np.bool_]:
        drawn: NDArray[np.bool_] = rng.random(n) < probability
        return drawn

    def one_of(first: Any, second: Any) -> NDArray[np.int8]:
        """1 with the first probability, 2 with the second, otherwise 0."""
        draw = rng.random(n)
        return np.where(draw < first, 1, np.where(draw < first + second, 2, 0)).astype(np.int8)

    young = chance(0.115)
    age = np.where(
        young,
        64 - np.minimum(rng.gamma(1.6, 8.0, n), 46).astype(np.int64),
        65 + np.minimum(rng.gamma(1.75, 5.6, n), 40).astype(np.int64),
    )
    female = chance(np.where(age >= 80, 0.60, 0.53))
    orec = one_of(np.where(young, 0.93, 0.105), np.where(young, 0.02, 0.007))
    orec = np.where((orec == 0) & chance(np.where(young, 0.3, 0.005)), 3, orec)
    institutional = chance(np.select([age >= 85, age >= 75], [0.075, 0.02], 0.008))
    dual = one_of(np.where(young, 0.14, 0.045), np.where(young, 0.42, 0.10))
    dual = np.where(institutional & chance(0.6), 2, dual)
    new = ~institutional & chance(np.select([age == 65, age == 66, age == 67], [0.62, 0.20, 0.05], 0.012))
    esrd = np.where(chance(0.0085), 1 + np.searchsorted([0.7, 0.75], rng.random(n)), 0)
    # A birthday between 2 February of one year and 1 February of the next gives this age on 1 February.
    february = (year - age - 1970).astype("datetime64[Y]").astype("datetime64[M]") + np.timedelta64(1, "M")
    return {
        "birth_date": february.astype("datetime64[D]") - rng.integers(0, 364, n).astype("timedelta64[D]"),
        "sex": female.astype(np.int8),
        "orec": orec.astype(np.int8),
        "dual_status": dual.astype(np.int8),
        "institutional": institutional,
        "new_enrollee": new,
        "c_snp": chance(0.03),
        "medicaid": institutional & (dual > 0),
        "new_enrollee_medicaid": new & (dual > 0),
        "low_income": (dual > 0) | chance(0.06),
        "esrd_status": esrd.astype(np.int8),
        "months_since_graft": np.where(esrd > 1, 1 + np.where(esrd == 2, 0, 3) + rng.integers(0, 60, n), 0),
        "age": age,
        "cluster": rng.choice(len(CLUSTERS), n, p=[share for share, _, _ in CLUSTERS]).astype(np.int8),
    }


def draw_counts(members: dict[str, Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the number of diagnosis rows of each member."""
    age = members["age"]
    n = len(age)
    rate = MEAN_ROWS * rng.gamma(1.15, 1 / 1.15, n) * rng.lognormal(-0.245, 0.70, n)
    rate *= np.select([age >= 80, age >= 70], [1.26, 1.03], 0.86) * np.where(
        members["new_enrollee"], 0.35, 1.0
    )
    return np.minimum(rng.poisson(rate), MAX_ROWS)


@dataclass
class Rows:
    """Diagnosis rows, sorted by member.

    Attributes
    ----------
    member : int32[n_rows]
        Position of the member.
    code : uint16[n_rows]
        Position in `CodeBook.codes`.
    claim : int32[n_rows]
        Position of the claim.
    claim_day : int16[n_claims]
        Day of the year.
    claim_type : int8[n_claims]
        Position in `CLAIM_TYPES`.
    """

    member: NDArray[np.int32]
    code: NDArray[np.uint16]
    claim: NDArray[np.int32]
    claim_day: NDArray[np.int16]
    claim_type: NDArray[np.int8]


def draw_rows(
    members: dict[str, Any], counts: NDArray[np.int64], book: CodeBook, rng: np.random.Generator
) -> Rows:
    """Draw the conditions of each member, repeat them over the member's rows, and group the rows into claims."""
    n = len(counts)
    kinds = np.where(counts > 0, 1 + rng.binomial(np.maximum(counts - 1, 0), 0.55), 0)
    group = np.repeat(2 * members["cluster"] + members["sex"], kinds)
    draw = rng.random(len(group))
    conditions = np.empty(len(group), np.uint16)
    for row, cumulative in enumerate(book.cumulative):
        here = np.flatnonzero(group == row)
        found = np.searchsorted(cumulative, draw[here], side="right")
        conditions[here] = np.minimum(found, len(book.codes) - 1)

    # The first rows of a member have each condition once. Later rows repeat them, mostly the first ones.
    member = np.repeat(np.arange(n, dtype=np.int32), counts)
    position = np.arange(len(member)) - np.repeat(np.cumsum(counts) - counts, counts)
    row_kinds = np.repeat(kinds, counts)
    repeat = (rng.random(len(member)) ** 2 * row_kinds).astype(np.int64)
    condition = np.where(position < row_kinds, position, repeat)
    condition += np.repeat(np.cumsum(kinds) - kinds, counts)

    starts = (position == 0) | (rng.random(len(member)) < 0.42)
    claim = (np.cumsum(starts) - 1).astype(np.int32)
    n_claims = int(starts.sum())
    shares = np.cumsum([share for _, share in CLAIM_TYPES])[:-1]
    return Rows(
        member,
        conditions[condition],
        claim,
        rng.integers(0, 365, n_claims, dtype=np.int16),
        np.searchsorted(shares, rng.random(n_claims)).astype(np.int8),
    )


@dataclass
class Population:
    """Members and diagnosis rows, held in memory as small integers."""

    members: dict[str, Any]
    rows: Rows
    book: CodeBook
    year: int
    seed: int

    def __len__(self) -> int:
        return len(self.members["sex"])

    @property
    def service_year(self) -> int:
        """The year of the diagnoses: Medicare uses those of the year before the payment year."""
        return self.year - 1

    def columns(self) -> dict[str, Any]:
        """The member columns except the id, as Arrow arrays."""
        facts = self.members
        columns: dict[str, Any] = {"birth_date": pa.array(facts["birth_date"])}
        columns["sex"] = text_array(["M", "F"], facts["sex"])
        columns["orec"] = pa.array(facts["orec"])
        columns["dual_status"] = text_array(["none", "partial", "full"], facts["dual_status"])
        for name in (
            "institutional",
            "new_enrollee",
            "c_snp",
            "medicaid",
            "new_enrollee_medicaid",
            "low_income",
        ):
            columns[name] = pa.array(facts[name].astype(np.int8))
        columns["esrd_status"] = text_array(["none", "dialysis", "transplant", "graft"], facts["esrd_status"])
        columns["months_since_graft"] = pa.array(facts["months_since_graft"].astype(np.int16))
        return columns


def make_population(
    n: int, *, seed: int = SEED, model: str = MODEL, year: int = YEAR, made_up: int = MADE_UP
) -> Population:
    """Draw a population, block by block.

    Parameters
    ----------
    n : int
        Number of members.
    seed : int
    model, year
        The model of the payment codes, and the payment year for ages and dates.
    made_up : int
        See `code_book`.
    """
    book = code_book(model, year, seed, made_up)
    members: list[dict[str, Any]] = []
    counts: list[NDArray[np.int64]] = []
    for block, start in enumerate(range(0, n, BLOCK_MEMBERS)):
        rng = np.random.default_rng([seed, 2, block])
        members.append(draw_members(min(BLOCK_MEMBERS, n - start), rng, year))
        counts.append(draw_counts(members[-1], rng))

    total = sum(int(block.sum()) for block in counts)
    all_rows = Rows(
        np.empty(total, np.int32),
        np.empty(total, np.uint16),
        np.empty(total, np.int32),
        np.empty(0, np.int16),
        np.empty(0, np.int8),
    )
    days, types = [], []
    row = claims = 0
    for block, facts in enumerate(members):
        rows = draw_rows(facts, counts[block], book, np.random.default_rng([seed, 3, block]))
        here = slice(row, row + len(rows.member))
        all_rows.member[here] = rows.member + block * BLOCK_MEMBERS
        all_rows.code[here] = rows.code
        all_rows.claim[here] = rows.claim + claims
        days.append(rows.claim_day)
        types.append(rows.claim_type)
        row, claims = here.stop, claims + len(rows.claim_day)
    all_rows.claim_day, all_rows.claim_type = np.concatenate(days), np.concatenate(types)
    all_members = {name: np.concatenate([block[name] for block in members]) for name in members[0]}
    return Population(all_members, all_rows, book, year, seed)


# ------------------------------------------------------------------------ writing


def member_ids(n: int, kind: str, seed: int) -> pa.Array:
    """Distinct member ids: `string` (M000000001), `mbi` (random, 11 characters) or `int`."""
    if kind == "int":
        return pa.array(np.arange(100_000_001, 100_000_001 + n))
    if kind == "string":
        numbers = np.arange(1, n + 1)
        columns = [48 + numbers // 10**power % 10 for power in range(8, -1, -1)]
        return _fixed_strings(np.stack([np.full(n, ord("M")), *columns], axis=1))
    return _medicare_ids(n, seed)


def _medicare_ids(n: int, seed: int) -> pa.Array:
    """Random Medicare beneficiary identifiers (MBI)."""
    digits, letters = b"0123456789", b"ACDEFGHJKMNPQRTUVWXY"  # CMS does not use S L O I B Z
    both = letters + digits
    alphabets = [digits[1:], letters, both, digits, letters, both, digits, letters, letters, digits, digits]
    space = int(np.prod([len(alphabet) for alphabet in alphabets], dtype=np.int64))
    rng = np.random.default_rng([seed, 4])
    numbers = np.empty(0, np.int64)
    while len(numbers) < n:
        numbers = np.unique(np.concatenate([numbers, rng.integers(0, space, n - len(numbers) + 64)]))
    numbers = rng.permutation(numbers)[:n]
    columns = []
    for alphabet in alphabets:
        numbers, digit = np.divmod(numbers, len(alphabet))
        columns.append(np.frombuffer(alphabet, np.uint8)[digit])
    return _fixed_strings(np.stack(columns, axis=1))


def _fixed_strings(characters: Ints) -> pa.Array:
    """A text array from character codes [n, width]."""
    n, width = characters.shape
    offsets = np.arange(0, (n + 1) * width, width, dtype=np.int32)
    data = np.ascontiguousarray(characters, np.uint8)
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(data))


def text_array(labels: list[str], codes: Ints) -> pa.Array:
    """A text array of the labels with these positions."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(labels))


def member_table(population: Population, ids: pa.Array) -> pa.Table:
    """The members as an Arrow table."""
    return pa.table({"member_id": ids, **population.columns()})


def row_order(rows: Rows, order: str, seed: int) -> NDArray[np.int32] | None:
    """Positions of the rows in the order of the file. None: they keep their order.

    Parameters
    ----------
    order : {"sorted", "claims", "shuffled"}
        By member; claims in random order, with the rows of each claim together; or fully random.
    """
    rng = np.random.default_rng([seed, 5])
    if order == "sorted":
        return None
    if order == "shuffled":
        positions = np.arange(len(rows.member), dtype=np.int32)
        rng.shuffle(positions)
        return positions
    sizes = np.bincount(rows.claim, minlength=len(rows.claim_day))
    starts = np.cumsum(sizes) - sizes
    claims = rng.permutation(len(sizes))
    shift = starts[claims] - (np.cumsum(sizes[claims]) - sizes[claims])
    return (np.repeat(shift, sizes[claims]) + np.arange(len(rows.member))).astype(np.int32)


def diagnosis_batches(
    population: Population, ids: pa.Array, order: NDArray[np.int32] | None, size: int
) -> Iterator[pa.Table]:
    """The diagnosis rows as Arrow tables of at most `size` rows."""
    rows = population.rows
    codes = pa.array(population.book.codes)
    first = np.datetime64(f"{population.service_year}-01-01", "D")

    def batch(start: int) -> pa.Table:
        stop = min(start + size, len(rows.member))
        here = slice(start, stop) if order is None else order[start:stop]
        claim = rows.claim[here]
        return pa.table(
            {
                "member_id": ids.take(pa.array(rows.member[here])),
                "icd10": pa.DictionaryArray.from_arrays(rows.code[here].astype(np.int32), codes),
                "service_date": pa.array(first + rows.claim_day[claim].astype("timedelta64[D]")),
                "claim_id": pa.array(claim.astype(np.int64) + 1),
                "claim_type": text_array([name for name, _ in CLAIM_TYPES], rows.claim_type[claim]),
            }
        )

    with ThreadPoolExecutor(1) as executor:  # prepares the next batch while the caller writes this one
        starts = range(0, len(rows.member), size) or range(1)
        pending = executor.submit(batch, starts[0])
        for start in starts[1:]:
            current = pending.result()
            pending = executor.submit(batch, start)
            yield current
        yield pending.result()


def write_population(
    population: Population,
    out: Path,
    *,
    order: str = "shuffled",
    ids: str = "string",
    row_group_size: int = 1 << 20,
    compression: str = "snappy",
) -> tuple[Path, Path]:
    """Write members.parquet and diagnoses.parquet into a folder, and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"compression": compression, "store_schema": False}
    names = member_ids(len(population), ids, population.seed)
    paths = out / "members.parquet", out / "diagnoses.parquet"
    small = min(row_group_size, 1 << 17)
    pq.write_table(member_table(population, names), paths[0], row_group_size=small, **options)
    positions = row_order(population.rows, order, population.seed)
    writer = None
    for table in diagnosis_batches(population, names, positions, row_group_size):
        writer = writer or pq.ParquetWriter(paths[1], table.schema, **options)
        writer.write_table(table, row_group_size=row_group_size)
    if writer:
        writer.close()
    return paths


# ----------------------------------------------------------------- the small sample

# Number of members in data_samples by group. Together they reach every segment of the Medicare models.
SAMPLE = {
    "new enrollee in a C-SNP": 6,
    "new enrollee": 14,
    "institutional": 16,
    "aged none": 80,
    "aged partial": 14,
    "aged full": 22,
    "disabled none": 20,
    "disabled partial": 12,
    "disabled full": 16,
}


def write_sample(out: Path, seed: int = SEED) -> None:
    """Write the small CSV population of `data_samples`."""
    population = make_population(20_000, seed=seed, made_up=0)
    facts = population.members
    dual = np.array(["none", "partial", "full"])[facts["dual_status"]]
    groups = np.select(
        [facts["new_enrollee"] & facts["c_snp"], facts["new_enrollee"], facts["institutional"]],
        list(SAMPLE)[:3],
        np.char.add(np.where(facts["age"] >= 65, "aged ", "disabled "), dual),
    )
    groups[(facts["age"] < 65) & (facts["orec"] == 0) & ~facts["new_enrollee"]] = ""
    chosen = np.sort(np.concatenate([np.flatnonzero(groups == group)[:n] for group, n in SAMPLE.items()]))
    ids = {int(member): f"S{number:04d}" for number, member in enumerate(chosen, 1)}

    out.mkdir(parents=True, exist_ok=True)
    table = member_table(population, member_ids(len(population), "string", seed))
    names = [name for name in table.column_names if name not in UNUSED_IN_SAMPLE]
    people = table.select(names).take(pa.array(chosen)).to_pylist()
    for person, name in zip(people, ids.values(), strict=True):
        person["member_id"] = name
    write_csv(out / "members.csv", names, [list(person.values()) for person in people])

    rng = np.random.default_rng([seed, 6])
    rows = population.rows
    first = np.datetime64(f"{population.year - 1}-01-01", "D")
    lines: list[list[Any]] = []
    for row in np.flatnonzero(np.isin(rows.member, chosen)):
        code = population.book.codes[rows.code[row]]
        if rng.random() < 0.3 and len(code) > 3:
            code = f"{code[:3]}.{code[3:]}"
        lines.append([ids[int(rows.member[row])], code, first + rows.claim_day[rows.claim[row]]])
    lines += [lines[row] for row in rng.integers(0, len(lines), 12)]  # repeated rows
    lines.append(["S9999", "E11.9", first + 100])  # unknown member
    shuffled = [lines[row] for row in rng.permutation(len(lines))]
    write_csv(out / "diagnoses.csv", ["member_id", "icd10", "service_date"], shuffled)


UNUSED_IN_SAMPLE = ("low_income", "esrd_status", "months_since_graft")


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


# ------------------------------------------------------------------- command line


def summary(population: Population) -> str:
    """A population in a few figures."""
    rows, n = population.rows, len(population)
    counts = np.bincount(rows.member, minlength=n)
    pays = rows.code < population.book.paying
    facts = population.members
    shares = {
        "without rows": counts == 0,
        "under 65": facts["age"] < 65,
        "dual": facts["dual_status"] > 0,
        "institutional": facts["institutional"],
        "new enrollees": facts["new_enrollee"],
        "with a payment code": np.bincount(rows.member[pays], minlength=n) > 0,
    }
    return (
        f"{n:,} members, {len(rows.member):,} diagnosis rows: {counts.mean():.1f} per member, standard deviation "
        f"{counts.std():.0f}, median {np.median(counts):.0f}, 99th percentile {np.percentile(counts, 99):.0f}, "
        f"maximum {counts.max()}; {pays.mean():.0%} of the rows have a payment code; "
        f"{len(np.unique(rows.code)):,} distinct codes\n"
        + ", ".join(f"{name} {np.mean(share):.1%}" for name, share in shares.items())
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.population", description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="folder for members.parquet and diagnoses.parquet")
    parser.add_argument("--sample", type=Path, help="write the small CSV sample into this folder instead")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--year", type=int, default=YEAR)
    parser.add_argument("--order", choices=["shuffled", "claims", "sorted"], default="shuffled")
    parser.add_argument("--ids", choices=["string", "mbi", "int"], default="string")
    parser.add_argument("--row-group-size", type=int, default=1 << 20)
    parser.add_argument("--compression", default="snappy")
    args = parser.parse_args(argv)
    if args.sample:
        write_sample(args.sample, args.seed)
        return 0
    if not args.out:
        parser.error("--out or --sample is needed")
    population = make_population(args.members, seed=args.seed, model=args.model, year=args.year)
    print(summary(population))
    write_population(
        population,
        args.out,
        order=args.order,
        ids=args.ids,
        row_group_size=args.row_group_size,
        compression=args.compression,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
