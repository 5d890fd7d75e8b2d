"""A tiny model for tests that change single cells: three categories, two segments, eight variables in all."""

from pathlib import Path

TINY = {
    "model.toml": """\
format = 1
model = "tiny"
year = 2026
title = "Tiny"
program = "cms_hcc"
age_as_of = "02-01"
hierarchy = "initial"
notes = ["for tests"]
""",
    "variables.csv": """\
variable,kind,number,label
FEMALE,flag,,
YOUNG,demographic,,under 65
OLD,demographic,,65 and over
HCC1,category,1,worst
HCC2,category,2,worse
HCC3,category,3,bad
FEMALE_ANY,interaction,,a woman with any
TWO,count,,two or more
""",
    "flags.csv": """\
variable,condition,partition
FEMALE,sex = female,
YOUNG,age < 65,age
OLD,age >= 65,age
""",
    "groups.csv": """\
group,member
LOW,HCC2
LOW,HCC3
ANY,HCC1
ANY,LOW
""",
    "rules.csv": """\
stage,variable,when,unless,count_of,min,max,clears
before,,HCC3 FEMALE,HCC1 HCC2,,,,HCC3
after,FEMALE_ANY,FEMALE ANY,,,,,
after,TWO,,,HCC1 LOW,2,,
""",
    "hierarchy.csv": """\
parent,child
HCC1,HCC2
""",
    "codes.csv": """\
system,code,category,condition
icd10cm,A00,HCC1,
icd10cm,A01,HCC2,age < 18
icd10cm,A01,HCC2,age >= 21
icd10cm,A02,HCC3,
""",
    "coefficients.csv": """\
variable,BASE,OTHER
YOUNG,0.5,
OLD,1.125,
HCC1,2,0.3
HCC2,-0.004,0.2
HCC3,1.000,0.1
FEMALE_ANY,0.010,
TWO,0.050,
""",
    "segments.csv": """\
segment,condition,reason,score_column,divisor
BASE,not new_enrollee,continuing enrollee,SCORE_BASE,
OTHER,new_enrollee,new enrollee,SCORE_OTHER,0.8
""",
}


def write_tiny(root: Path, changes: dict[str, str | bytes | None] | None = None) -> Path:
    """Write the model to `root/tiny/2026` and return that folder. `changes` replaces tables; None omits one."""
    folder = root / "tiny" / "2026"
    folder.mkdir(parents=True)
    for name, text in {**TINY, **(changes or {})}.items():
        if text is not None:
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder
