"""Random models: any rules, groups, conditions and hierarchies that the table format allows."""

from pathlib import Path
from random import Random

from hccore import Model
from hccore.tables.loading import read_folder

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
    """Up to `most` of some names, in random order."""
    return random.sample(names, random.randint(0, min(most, len(names))))


def make_model(random: Random, root: Path) -> tuple[Model, list[str]]:
    """Write a random model into a folder and load it. Returns the model and its codes."""
    categories = [f"C{n}" for n in range(1, random.choice([3, 6, 62, 64, 65, 130]) + 1)]
    # Codes and rules use the first and the last categories, so that both ends of the words of bits are tested.
    near = sorted({*categories[:4], *categories[-4:]}, key=categories.index)
    kinds = {"K1": "flag", **dict.fromkeys(FLAGS, "flag"), **ALONE}
    kinds |= {name: random.choice(["category", "category", "drug"]) for name in categories} | SCORED
    edges = [(a, b) for a in near for b in near if near.index(a) < near.index(b) and random.random() < 0.3]
    random.shuffle(edges)  # the order of rows of hierarchy.csv does not matter
    triples = [f"{a} {b} {c}" for a, b in edges for x, c in edges if x == b and (a, c) not in edges]
    codes = {f"A{n:02d}": random.sample(near, random.choice([1, 1, 2])) for n in range(12)}
    codes["B00"] = ["K1"]
    groups = {"G1": some(random, [*near, *FLAGS], 5), "G2": some(random, near, 5)}
    groups = {name: members for name, members in groups.items() if members}
    terms = [*near, *near, *FLAGS, "D1", "T1", "K1", *SCORED, *groups]

    def rule(stage: str) -> str:
        names = [*FLAGS, "D1", "D2"] if stage == "member" else terms
        target = random.choice([None, *(["T1", "T2"] if stage == "member" else [*SCORED, *near[:2]])])
        clears = [] if stage == "member" else some(random, [*near, "K1", *SCORED, *groups], 2)
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
