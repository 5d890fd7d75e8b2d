"""A model of a few categories, rules and hierarchies that a test writes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hccore import Model
from hccore.tables.loading import read_folder

FLAGS = {"WOMAN": "sex = female", "FROM20": "age >= 20", "FROM40": "age >= 40", "FROM60": "age >= 60"}


def small_model(
    root: Path,
    *,
    categories: int = 6,
    variables: str = "",
    rules: Sequence[str] = (),
    hierarchy: Sequence[str] = (),
    groups: Sequence[str] = (),
    conditions: dict[str, str] | None = None,
    reading: str = "initial",
    divisor: str = "",
    gaps: Sequence[str] = (),
    worth: dict[str, str] | None = None,
    counted: Sequence[str] = (),
) -> Model:
    """A model with the categories C1, C2, ... and further variables, each worth another power of two."""
    scored = [*(f"C{n}" for n in range(1, categories + 1)), *variables.split()]
    kinds = {name: "category" if name in scored[:categories] else "interaction" for name in scored}
    tables = {
        "variables.csv": [
            "variable,kind,number,label",
            *(f"{name},flag,," for name in FLAGS),
            "OLD,demographic,,",
        ]
        + [f"{name},{kind},{name[1:] if kind == 'category' else ''}," for name, kind in kinds.items()],
        "flags.csv": [
            "variable,condition,partition",
            *(f"{name},{FLAGS[name]}," for name in FLAGS),
            "OLD,age >= 65,",
        ],
        "groups.csv": ["group,member", *groups],
        "rules.csv": ["stage,variable,when,unless,count_of,min,max,clears", *rules],
        "hierarchy.csv": ["parent,child", *hierarchy],
        "codes.csv": ["system,code,category,condition"]
        + [f"icd10cm,A{n:03d},C{n},{(conditions or {}).get(f'C{n}', '')}" for n in range(1, categories + 1)],
        "coefficients.csv": ["variable,ONE", "OLD,0.001"]
        + [
            f"{name},{(worth or {}).get(name, f'{2 ** (n % 20) / 1000:.3f}')}"
            for n, name in enumerate(scored, 1)
        ],
        "segments.csv": [
            "segment,condition,reason,score_column,divisor",
            f"ONE,age >= 0,all,SCORE_ONE,{divisor}",
        ],
    }
    folder = root / "small" / "2026"
    folder.mkdir(parents=True)
    for name, lines in tables.items():
        (folder / name).write_text("\n".join([*lines, ""]), "utf-8")
    toml = ["format = 1", 'model = "small"', "year = 2026", 'title = "Small"', 'program = "cms_hcc"']
    toml += [f'hierarchy = "{reading}"', "[accepted.no_effect]"]
    toml += [f'{name} = "not every rule needs it"' for name in FLAGS]
    toml += ["[counted]", *(f'{name} = "members with {name}"' for name in counted)]
    toml += ["[accepted.unreachable]", *(f'{name} = "not here"' for name in scored)]
    toml += ["[accepted.intransitive_hierarchy]", *(f'"{gap}" = "meant"' for gap in gaps)]
    (folder / "model.toml").write_text("\n".join([*toml, ""]), "utf-8")
    return Model(read_folder(folder))
