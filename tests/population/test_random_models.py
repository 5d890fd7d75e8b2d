"""Kernels equal the reference on models that nobody published: any rules, groups, conditions and hierarchies.

The published models use few of the forms that the tables allow. Here a model is made at random (and refused now
and then, which is as good), with categories up to and over the edge of a word of bits.
"""

import shutil
import tempfile
from pathlib import Path
from random import Random

from hypothesis import Phase, assume, given, settings, strategies as st

from hccore import Model, TableError
from hccore.tables.loading import read_folder
from tests.support import Person, all_scores, tables_of, thousandths, trace

CONDITIONS = [
    "",
    "",
    "age < 18",
    "age >= 65",
    "sex = female",
    "9 <= age <= 64",
    "not (age < 50 or sex = male)",
]
FLAGS = ["F1", "F2", "F3"]
SCORED = {"I1": "interaction", "I2": "count", "I3": "group", "I4": "term", "I5": "interaction"}
ALONE = {"D1": "demographic", "D2": "demographic", "D3": "demographic", "T1": "term", "T2": "duration"}


def some(random: Random, names: list[str], most: int) -> list[str]:
    return random.sample(names, random.randint(0, min(most, len(names))))


def make_model(random: Random, root: Path) -> tuple[Model, list[str]]:
    """A random model in a folder of tables, and its codes."""
    categories = [f"C{n}" for n in range(1, random.choice([3, 6, 62, 64, 65, 130]) + 1)]
    near = sorted(
        {*categories[:4], *categories[-4:]}, key=categories.index
    )  # most of the action, at both ends
    kinds = {"K1": "flag", **dict.fromkeys(FLAGS, "flag"), **ALONE}
    kinds |= {name: random.choice(["category", "category", "drug"]) for name in categories} | SCORED
    edges = [(a, b) for a in near for b in near if near.index(a) < near.index(b) and random.random() < 0.3]
    triples = [f"{a} {b} {c}" for a, b in edges for x, c in edges if x == b and (a, c) not in edges]
    codes = {f"A{n:02d}": random.sample(near, random.choice([1, 1, 2])) for n in range(12)}
    codes["B00"] = ["K1"]
    groups = {"G1": some(random, [*near, *FLAGS], 5), "G2": some(random, near, 5)}
    groups = {name: members for name, members in groups.items() if members}
    terms = [*near, *near, *FLAGS, "D1", "T1", "K1", *SCORED, *groups]

    def rule(stage: str) -> str:
        names = [*FLAGS, "D1", "D2"] if stage == "member" else terms
        target = random.choice([None, *(["T1", "T2"] if stage == "member" else SCORED)])
        clears = [] if stage == "member" else some(random, [*near, *SCORED, *groups], 2)
        if target is None and not clears:
            target = "T1" if stage == "member" else "I1"
        count_of = some(random, names, 5) if random.random() < 0.4 else []
        low = random.choice(["", "0", "1", "2"]) if count_of else ""
        high = random.choice(["2", "3"] if not low else ["", "2", "3"]) if count_of else ""
        when = some(random, names, 2) or ([] if count_of else [random.choice(names)])
        cells = [when, some(random, names, 1), list(dict.fromkeys(count_of))]
        joined = ",".join(" ".join(dict.fromkeys(cell)) for cell in cells)
        return f"{stage},{target or ''},{joined},{low},{high},{' '.join(dict.fromkeys(clears))}"

    def factor() -> str:
        return random.choice(["", "0", f"{random.randint(-999, 4999) / 1000:.3f}"])

    stages = ["member", "before", "after"]
    tables = {
        "variables.csv": ["variable,kind,number,label"]
        + [f"{name},{kind},{name[1:] if name in categories else ''}," for name, kind in kinds.items()],
        "flags.csv": ["variable,condition,partition"]
        + [f"{name},{random.choice(CONDITIONS[2:])}," for name in [*FLAGS, "D1", "D2", "D3"]],
        "groups.csv": ["group,member", *(f"{name},{member}" for name in groups for member in groups[name])],
        "rules.csv": ["stage,variable,when,unless,count_of,min,max,clears"]
        + [rule(stage) for stage in stages for _ in range(random.randint(1, 5))],
        "hierarchy.csv": ["parent,child", *(f"{parent},{child}" for parent, child in edges)],
        "codes.csv": ["system,code,category,condition"]
        + [
            f"icd10cm,{code},{category},{random.choice(CONDITIONS)}"
            for code, targets in codes.items()
            for category in targets
        ],
        "coefficients.csv": ["variable,ONE,TWO"]
        + [f"{name},{factor()},{factor()}" for name in kinds if kinds[name] != "flag"],
        "segments.csv": [
            "segment,condition,reason,score_column,divisor",
            f"ONE,sex = male,men,SCORE_ONE,{random.choice(['', '0.905'])}",
            f"TWO,sex = female,women,SCORE_TWO,{random.choice(['', '0.7'])}",
        ],
    }
    folder = root / "random" / "2026"
    folder.mkdir(parents=True)
    for name, lines in tables.items():
        (folder / name).write_text("\n".join([*lines, ""]), "utf-8")
    accepted = {"intransitive_hierarchy": triples, "unreachable": [*kinds], "no_effect": [*kinds]}
    toml = ["format = 1", 'model = "random"', "year = 2026", 'title = "Random"', 'program = "cms_hcc"']
    toml += [f'hierarchy = "{random.choice(["initial", "sequential"])}"']
    for fault, names in accepted.items():
        toml += [f"[accepted.{fault}]", *(f'"{name}" = "at random"' for name in dict.fromkeys(names))]
    (folder / "model.toml").write_text("\n".join([*toml, ""]), "utf-8")
    return Model(read_folder(folder)), [*codes]


# Shrinking a whole model takes minutes and helps little.
@settings(max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(random=st.randoms(use_true_random=False))
def test_kernels_equal_the_reference_on_any_model(random: Random):
    root = Path(tempfile.mkdtemp())
    try:
        model, codes = make_model(random, root)
    except TableError:
        assume(False)
    finally:
        shutil.rmtree(root)
    people: list[Person] = [
        ({"age": random.randint(0, 90), "sex": random.randint(1, 2)}, some(random, codes, 6))
        for _ in range(12)
    ]
    people *= 2  # so that results are remembered and found again
    tables = model.tables
    everything = model.score(*tables_of(people), all_segments=True).scores.to_pylist()
    result = model.score(*tables_of(people))
    total: dict[str, int] = {}
    for term in result.contributions().to_pylist():
        amount = thousandths(term["coefficient"] or 0)
        total[term["member_id"]] = total.get(term["member_id"], 0) + amount
    for (facts, mine), row, chosen in zip(people, everything, result.scores.to_pylist(), strict=True):
        found = trace(tables, facts, mine)
        scores = all_scores(tables, found)
        assert [thousandths(row["SCORE_ONE"]), thousandths(row["SCORE_TWO"])] == scores
        assert row["hccs"] == chosen["hccs"] == found.hccs(tables)
        assert thousandths(chosen["raw_score"]) == scores[facts["sex"] - 1]
        assert total.get(chosen["member_id"], 0) == scores[facts["sex"] - 1]
        explained = model.explain(facts, mine)
        assert explained.score == scores[facts["sex"] - 1]
        assert sum(part.coefficient or 0 for part in explained.contributions) == explained.score
