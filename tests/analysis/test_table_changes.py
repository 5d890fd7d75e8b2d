"""`hccore tables diff`: each kind of change, two pairs of packaged tables, the report and the command line."""

import csv
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from hccore.analysis.table_changes import Change, comparable_names, diff_tables, find_tables, write_csv
from hccore.analysis.table_changes_text import report, summary
from hccore.base.errors import OutputError, TableError, UnknownModelError
from hccore.cli import main
from hccore.tables import schema as model_tables
from hccore.tables.folders import mappings_root
from hccore.tables.loading import load_tables, read_folder
from hccore.tables.schema import ModelTables

Edit = Callable[[str], str]


@pytest.fixture
def v28() -> ModelTables:
    return load_tables("cms_hcc_v28", 2026)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., ModelTables]:
    """Return a function that copies packaged tables, edits the text of some files and reads the copy."""

    def copy(model: str = "cms_hcc_v28/2026", to: str | None = None, **edits: Edit) -> ModelTables:
        folder = tmp_path / (to or model)
        shutil.copytree(mappings_root() / model, folder)
        for stem, edit in edits.items():
            file = folder / ("model.toml" if stem == "about" else f"{stem}.csv")
            before = file.read_text("utf-8") if file.exists() else ""
            after = edit(before)
            assert after != before, f"the edit of {file.name} changes nothing"
            file.write_text(after, "utf-8")
        return read_folder(folder)

    return copy


def swap(*pairs: tuple[str, str]) -> Edit:
    """Replace texts that occur exactly once."""

    def edit(text: str) -> str:
        for old, new in pairs:
            assert text.count(old) == 1, (old, text.count(old))
            text = text.replace(old, new)
        return text

    return edit


# -------------------------------------------------------------------- each kind of change


def test_nothing_changed(v28: ModelTables, copied: Callable[..., ModelTables]):
    assert diff_tables(v28, copied()) == []


def test_codes(v28: ModelTables, copied: Callable[..., ModelTables]):
    new = copied(
        codes=swap(
            ("icd10cm,E119,HCC38,\n", "icd10cm,E119,HCC37,\n"),
            ("icd10cm,A021,HCC2,\n", ""),
            ("icd10cm,F531,HCC152,9 <= age <= 64\n", "icd10cm,F531,HCC152,9 <= age <= 63\n"),
            ("icd10cm,C58,HCC22,9 <= age <= 64\n", "icd10cm,C58,HCC22,age <= 64 and age > 8\n"),
            ("icd10cm,I5022,HCC226,\n", "icd10cm,I5022,HCC226,\nicd10cm,I50229,HCC226,age < 21\n"),
        )
    )
    assert diff_tables(v28, new) == [
        Change("codes", "removed", "A021", "icd10cm", "HCC2", ""),
        Change(
            "codes", "reworded", "C58", "icd10cm", "HCC22 if 9 <= age <= 64", "HCC22 if age <= 64 and age > 8"
        ),
        Change("codes", "remapped", "E119", "icd10cm", "HCC38", "HCC37"),
        Change(
            "codes", "condition", "F531", "icd10cm", "HCC152 if 9 <= age <= 64", "HCC152 if 9 <= age <= 63"
        ),
        Change("codes", "added", "I50229", "icd10cm", "", "HCC226 if age < 21"),
    ]


def test_split_conditions_mean_the_same(v28: ModelTables, copied: Callable[..., ModelTables]):
    old, new = "icd10cm,E119,HCC38,\n", "icd10cm,E119,HCC38,age < 21\nicd10cm,E119,HCC38,age >= 21\n"
    (change,) = diff_tables(v28, copied(codes=swap((old, new))))
    assert (change.change, change.name) == ("reworded", "E119")


def test_conditions_on_the_service_date(copied: Callable[..., ModelTables]):
    old = load_tables("hhs_hcc", 2025)
    row = "icd10cm,C50A0,HHS_HCC011,age < 50,service_date >= 20251001\n"
    new = copied("hhs_hcc/2025", codes=swap((row, row.replace("20251001", "20251002"))))
    (change,) = diff_tables(old, new)
    assert change.change == "condition"
    assert change.old.startswith("HHS_HCC011 if age < 50 and service_date >= 20251001; HHS_HCC012 if")
    assert change.new.startswith("HHS_HCC011 if age < 50 and service_date >= 20251002; HHS_HCC012 if")


def test_categories_and_labels(v28: ModelTables, copied: Callable[..., ModelTables]):
    new = copied(
        variables=swap(
            ('HCC38,category,38,"Diabetes with No,', 'HCC38,category,38.1,"Diabetes without'),
            ("\nHCC1,category,1,HIV/AIDS\n", "\nHCC1,category,1,HIV/AIDS\nHCC999,category,999,A new one\n"),
            ("\nD1,count,,", "\nD1,term,,"),
        ),
        codes=lambda text: text + "icd10cm,Z9999,HCC999,\n",
        coefficients=lambda text: text + "HCC999,1.5,,,,,,,,\n",
    )
    label = v28.variables["HCC38"].label
    assert diff_tables(v28, new) == [
        Change("categories", "relabelled", "HCC38", "category", label, new.variables["HCC38"].label),
        Change("categories", "renumbered", "HCC38", "category", "38", "38.1"),
        Change("variables", "kind", "D1", "term", "count", "term"),
        Change("categories", "added", "HCC999", "category", "", "A new one"),
        Change("codes", "added", "Z9999", "icd10cm", "", "HCC999"),
        Change("coefficients", "added", "HCC999", "COMMUNITY_NA", "", "1.500"),
    ]
    back = {(c.table, c.change, c.name): c for c in diff_tables(new, v28)}
    assert back["categories", "removed", "HCC999"].old == "A new one"
    assert back["coefficients", "removed", "HCC999"].old == "1.500"


def test_order_of_categories(v28: ModelTables, copied: Callable[..., ModelTables]):
    def edit(text: str) -> str:
        lines = text.splitlines(keepends=True)
        at = next(n for n, line in enumerate(lines) if line.startswith("HCC6,"))
        lines.insert(at - 2, lines.pop(at))  # before HCC1
        return "".join(lines)

    assert diff_tables(v28, copied(variables=edit)) == [
        Change("categories", "moved", "HCC6", "", "after HCC2", "first")
    ]


def test_coefficients(v28: ModelTables, copied: Callable[..., ModelTables]):
    row, other = "HCC37,0.166,0.166,0.186,", "HCC37,0.15,,0.186,"
    new = copied(
        coefficients=swap(
            (f"\n{row}0.191,0.210,0.235,0.280,,\n", f"\n{other}0.191,0.21,0.235,0.280,-0.07,\n")
        )
    )
    found = diff_tables(v28, new)
    assert found == [
        Change("coefficients", "changed", "HCC37", "COMMUNITY_NA", "0.166", "0.150", "-0.016"),
        Change("coefficients", "removed", "HCC37", "COMMUNITY_PBA", "0.166", ""),
        Change("coefficients", "added", "HCC37", "NE", "", "-0.070"),
    ]
    text = "\n".join(report(v28, new, found))
    assert "\n    COMMUNITY_NA  0.166 -> 0.150  (-0.016)\n" in text
    assert diff_tables(new, v28)[0].difference == "+0.016"


def test_hierarchy_and_groups(v28: ModelTables, copied: Callable[..., ModelTables]):
    new = copied(
        hierarchy=swap(("HCC37,HCC38\n", "HCC6,HCC1\n")),
        groups=swap(("SEPSIS,HCC2\n", "SEPSIS,HCC2\nSEPSIS,HCC6\n"), ("payment_hccs,HCC463\n", "")),
    )
    found = diff_tables(v28, new)
    assert found == [
        Change("groups", "removed", "payment_hccs", "HCC463", "HCC463", ""),
        Change("groups", "added", "SEPSIS", "HCC6", "", "HCC6"),
        Change("hierarchy", "removed", "HCC37", "HCC38", "HCC38", ""),
        Change("hierarchy", "added", "HCC6", "HCC1", "", "HCC1"),
    ]
    lines = list(report(v28, new, found))
    assert "  HCC6 drops HCC1" in lines
    assert "  SEPSIS: HCC6" in lines


def test_order_of_edges_counts_in_sequential_hierarchies(copied: Callable[..., ModelTables]):
    edit = swap(("HCC36,HCC37\nHCC36,HCC38\n", "HCC36,HCC38\nHCC36,HCC37\n"))
    assert diff_tables(load_tables("cms_hcc_v28", 2026), copied("cms_hcc_v28/2026", hierarchy=edit)) == []
    (moved,) = diff_tables(load_tables("cms_hcc_v28", 2025), copied("cms_hcc_v28/2025", hierarchy=edit))
    assert (moved.table, moved.change, moved.name) == ("hierarchy", "moved", "HCC36")


def test_rules(v28: ModelTables, copied: Callable[..., ModelTables]):
    new = copied(
        rules=swap(
            ("after,HF_HCC238_V28,HF_V28 HCC238,", "after,HF_HCC238_V28,HCC238 HF_V28,"),  # the same
            ("after,D9,,,payment_hccs,9,9,\n", "after,D9,,,payment_hccs,8,9,\n"),
            ("before,,HCC223,HCC221 HCC222 HCC224 HCC225 HCC226,,,,HCC223\n", ""),
            ("after,D1,,,payment_hccs,1,1,\n", "after,D1,,,payment_hccs,1,1,\nafter,D1,SEPSIS,,,,,HCC6\n"),
        )
    )
    assert diff_tables(v28, new) == [
        Change(
            "rules",
            "removed",
            "(clears only)",
            "before",
            "if HCC223, unless HCC221 or HCC222 or HCC224 or HCC225 or HCC226: clears HCC223",
            "",
        ),
        Change("rules", "changed", "D9", "after", "if 9 of payment_hccs", "if 8 to 9 of payment_hccs"),
        Change("rules", "added", "D1", "after", "", "if SEPSIS: clears HCC6"),
    ]


def test_order_of_rules(v28: ModelTables, copied: Callable[..., ModelTables]):
    first = "after,D1,,,payment_hccs,1,1,\n"
    last = "after,D10P,,,payment_hccs,10,,\n"
    new = copied(rules=swap((first, ""), (last, last + first)))
    assert diff_tables(v28, new) == [
        Change("rules", "moved", "D1", "after", "after DISABLED_ULCER_V28", "after D10P")
    ]


def test_flags(v28: ModelTables, copied: Callable[..., ModelTables]):
    new = copied(
        flags=swap(
            ("\nF65_69,65 <= age <= 69 and", "\nF65_69,65 <= age <= 68 and"),
            ("\nF70_74,70 <= age <= 74 and", "\nF70_74,69 <= age <= 74 and"),
            ("\nF0_34,age < 35 and", "\nF0_34,age <= 34 and"),
            ("\nLTIMCAID,medicaid,\n", "\nLTIMCAID,medicaid,\nLTIMCAID,orec = 3,\n"),
        )
    )
    assert diff_tables(v28, new) == [
        Change(
            "flags",
            "reworded",
            "F0_34",
            "condition",
            "age < 35 and sex = female",
            "age <= 34 and sex = female",
        ),
        *(
            Change("flags", "changed", name, "condition", *(f"{ages} and sex = female" for ages in both))
            for name, *both in (
                ("F65_69", "65 <= age <= 69", "65 <= age <= 68"),
                ("F70_74", "70 <= age <= 74", "69 <= age <= 74"),
            )
        ),
        Change("flags", "changed", "LTIMCAID", "condition", "medicaid", "medicaid; or orec = 3"),
    ]


def test_partitions(v28: ModelTables, copied: Callable[..., ModelTables]):
    new = copied(flags=lambda text: text.replace(",ne_cell", ",new_enrollee_cell"))
    found = diff_tables(v28, new)
    assert Counter((c.change, c.detail, c.old, c.new) for c in found) == {
        ("changed", "partition", "ne_cell", "new_enrollee_cell"): 32
    }


def test_segments(v28: ModelTables, copied: Callable[..., ModelTables]):
    new = copied(
        segments=swap(
            (
                "NE,new_enrollee and not c_snp,new enrollee,SCORE_NE,",
                "NE,not c_snp and new_enrollee,new,SCORE_N,1.05",
            ),
            ("NE_SNP,new_enrollee and c_snp,", "NE_SNP,new_enrollee and c_snp and age > 1,"),
            ("COMMUNITY_FBD,age < 65 and", "COMMUNITY_FBX,age < 65 and"),
        ),
        coefficients=swap(("COMMUNITY_FBD", "COMMUNITY_FBX")),
    )
    found = diff_tables(v28, new)
    condition = v28.segments[5].condition.text
    assert [change for change in found if change.table == "segments"] == [
        Change("segments", "removed", "COMMUNITY_FBD", "", condition, ""),
        Change(
            "segments", "reworded", "NE", "condition", "new_enrollee and not c_snp",
            "not c_snp and new_enrollee",
        ),
        Change("segments", "changed", "NE", "reason", "new enrollee", "new"),
        Change("segments", "changed", "NE", "score_column", "SCORE_NE", "SCORE_N"),
        Change("segments", "changed", "NE", "divisor", "", "1.050"),
        Change(
            "segments", "changed", "NE_SNP", "condition", "new_enrollee and c_snp",
            "new_enrollee and c_snp and age > 1",
        ),
        Change("segments", "added", "COMMUNITY_FBX", "", "", condition),
    ]  # fmt: skip
    cells = Counter((change.change, change.detail) for change in found if change.table == "coefficients")
    assert cells.keys() == {("removed", "COMMUNITY_FBD"), ("added", "COMMUNITY_FBX")}
    line = next(line for line in summary(v28, new, found) if line.startswith("segments"))
    assert line.endswith("9 ->      9   2 changed, 1 added, 1 removed, "
                         "1 reworded (a condition is written differently but means the same)")  # fmt: skip


def test_order_of_segments(v28: ModelTables, copied: Callable[..., ModelTables]):
    def edit(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join([lines[0], lines[-1], *lines[1:-1]])

    assert diff_tables(v28, copied(segments=edit)) == [
        Change("segments", "moved", "NE_SNP", "", "after NE", "first")
    ]


def test_population_and_applies_of_segments(copied: Callable[..., ModelTables]):
    new = copied(
        "hhs_hcc/2025",
        segments=lambda text: text.replace(",INFANT,age < 2\n", ",BABY,age <= 2 and age != 2\n"),
    )
    found = diff_tables(load_tables("hhs_hcc", 2025), new)
    assert Counter((change.change, change.detail) for change in found) == {
        ("reworded", "applies"): 5,
        ("changed", "population"): 5,
    }


def test_multipliers(copied: Callable[..., ModelTables]):
    new = copied(
        "hhs_hcc/2025",
        multipliers=swap(
            ("csr_indicator = 1,1.000,Non-CSR", "csr_indicator = 1,1.001,No CSR"),
            ("metal = gold and csr_indicator = 2,1.070,", "csr_indicator = 2 and metal = gold,1.050,"),
            ("metal = bronze and csr_indicator = 4,1.510,", "metal = silver and csr_indicator = 4,1.510,"),
        ),
    )
    old = load_tables("hhs_hcc", 2025)
    reason = old.multipliers[0].reason
    gold = "metal = gold and csr_indicator = 2"
    found = diff_tables(old, new)
    assert found == [
        Change("multipliers", "reworded", gold, "", gold, "csr_indicator = 2 and metal = gold"),
        Change("multipliers", "changed", "csr_indicator = 1", "factor", "1.000", "1.001", "+0.001"),
        Change("multipliers", "changed", "csr_indicator = 1", "reason", reason, f"No {reason[4:]}"),
        Change("multipliers", "changed", gold, "factor", "1.070", "1.050", "-0.020"),
        Change("multipliers", "removed", "metal = bronze and csr_indicator = 4", "factor", "1.510", ""),
        Change("multipliers", "added", "metal = silver and csr_indicator = 4", "factor", "", "1.510"),
    ]


def test_facts_and_sources(copied: Callable[..., ModelTables]):
    old = load_tables("cms_hcc_v28", 2025)
    new = copied(
        "cms_hcc_v28/2025",
        about=lambda text: (
            text.replace(
                'age_as_of = "02-01"', 'age_as_of = "12-31"\nage_from = "column"\nservice_year = true'
            )
            .replace('"sequential"', '"initial"')
            .replace("notes = [\n", 'notes = [\n    "A new note.",\n')
            .replace("\"so in CMS's table", "\"Thus in CMS's table")
            .replace('status = "single source"', 'status = "official"')
        ),
    )
    found = {(c.table, c.change, c.name, c.detail): (c.old, c.new) for c in diff_tables(old, new)}
    reason = old.accepted["intransitive_hierarchy"]["HCC62 HCC63 HCC202"]
    (before, after) = found.pop(("sources", "changed", "codes", "ICD10_CC_mappings.csv"))
    assert before.startswith("single source, ")
    assert after == before.replace("single source", "official")
    assert found == {
        ("model", "changed", "age_as_of", ""): ("02-01", "12-31"),
        ("model", "added", "age_from", ""): ("", "column"),
        ("model", "changed", "hierarchy", ""): ("sequential", "initial"),
        ("model", "added", "service_year", ""): ("", "true"),
        ("model", "added", "service dates needed", ""): ("", "true"),
        ("model", "changed", "accepted.intransitive_hierarchy", "HCC62 HCC63 HCC202"): (
            reason,
            reason.replace("so in", "Thus in"),
        ),
        ("model", "added", "notes", ""): ("", "A new note."),
    }


def test_every_field_of_the_tables_is_compared():
    """If you add a field, make `diff_tables` compare it, then add it here."""
    known = {
        ModelTables: "folder model year title program age_as_of sequential_hierarchy notes accepted sources "
        "variables flags groups rules hierarchy codes coefficients segments multipliers dated service_year "
        "age_from_column counted applies_with files",
        model_tables.Variable: "name kind number label",
        model_tables.Flag: "variable condition partition line",
        model_tables.Rule: "stage variable when unless count_of low high clears line",
        model_tables.CodeTarget: "category condition service_condition",
        model_tables.Segment: "name condition automatic reason score_column divisor population applies",
        model_tables.Multiplier: "condition factor reason",
    }
    for kind, names in known.items():
        found = kind._fields if issubclass(kind, tuple) else [field.name for field in fields(kind)]
        assert list(found) == names.split(), kind


# -------------------------------------------------------------------- packaged tables


def counts(changes: list[Change]) -> dict[tuple[str, str], int]:
    return dict(Counter((change.table, change.change) for change in changes))


def test_two_years_of_v28():
    changes = diff_tables(load_tables("cms_hcc_v28", 2024), load_tables("cms_hcc_v28", 2026))
    assert counts(changes) == {
        ("model", "changed"): 1,
        ("model", "removed"): 2,
        ("sources", "changed"): 3,
        ("sources", "removed"): 1,
        ("codes", "added"): 231,
        ("codes", "removed"): 22,
        ("codes", "condition"): 122,
    }
    conditions = [change for change in changes if change.change == "condition"]
    assert all("sex = " in change.old and "sex" not in change.new for change in conditions)


def test_v24_to_v28():
    old, new = load_tables("cms_hcc_v24", 2025), load_tables("cms_hcc_v28", 2026)
    changes = diff_tables(old, new)
    found = counts(changes)
    assert {what: n for (table, what), n in found.items() if table == "codes"} == {
        "remapped": 7570,
        "added": 359,
        "removed": 2267,
    }
    assert found["categories", "redefined"] == 23
    assert found["coefficients", "changed"] == 377
    by_code = {change.name: (change.old, change.new) for change in changes if change.table == "codes"}
    assert by_code["E1122"] == ("HCC18", "HCC37")
    assert by_code["E119"] == ("HCC19", "HCC38")
    assert "B20" not in by_code  # HCC1 in both

    comparable = comparable_names(old, new)
    assert {name for name in comparable if name in old.categories} == {"HCC1", "HCC2", "HCC6"}
    assert old.variables["HCC18"].label == "Diabetes with Chronic Complications"
    of_18 = Counter(c.change for c in changes if c.table == "coefficients" and c.name == "HCC18")
    assert of_18 == {"removed": 7, "added": 7}  # HCC18 is redefined, so its coefficients are not subtracted
    compared = {c.name for c in changes if c.table == "coefficients" and c.change == "changed"}
    assert compared <= comparable


def test_codes_of_a_redefined_category_are_remapped(copied: Callable[..., ModelTables]):
    """A code maps to the same name in both models, but the name means something else."""
    old = load_tables("cms_hcc_v24", 2025)
    new = copied(
        "cms_hcc_v24/2025",
        to="made_up/2025",
        about=swap(('model = "cms_hcc_v24"', 'model = "made_up"')),
        variables=swap(
            (",Diabetes without Complication\n", ",Something else\n"),
            (",Lung and Other Severe Cancers\n", ',"Other Severe, and lung cancers"\n'),
        ),
    )
    changes = diff_tables(old, new)
    assert comparable_names(old, new) == old.variables.keys() - {"HCC19"}
    assert {c.change for c in changes if c.name == "E119"} == {"remapped"}
    assert {(c.table, c.change, c.name) for c in changes if c.table == "categories"} == {
        ("categories", "redefined", "HCC19"),
        ("categories", "relabelled", "HCC9"),
    }
    edges = {(c.change, c.name, c.detail) for c in changes if c.table == "hierarchy"}
    assert edges == {(what, name, "HCC19") for what in ("added", "removed") for name in ("HCC17", "HCC18")}
    assert "1 name has another meaning in made_up (HCC19)" in " ".join(summary(old, new, changes))


# -------------------------------------------------------------------- the report


def test_summaries_of_the_readme(root: Path):
    """The two summaries in `hcc_mappings/README.md` are those that the command prints."""
    text = (root / "hcc_mappings" / "README.md").read_text("utf-8")
    blocks = re.findall(
        r"^    \$ hccore tables diff (\S+) (\S+)\n((?:    .*\n|\n(?=    (?!\$)))+)", text, re.MULTILINE
    )
    assert [block[:2] for block in blocks] == [
        ("cms_hcc_v28/2024", "cms_hcc_v28/2026"),
        ("cms_hcc_v24/2025", "cms_hcc_v28/2026"),
    ]
    for old, new, shown in blocks:
        tables = find_tables(old), find_tables(new)
        lines = summary(*tables, diff_tables(*tables))
        assert [line.removeprefix("    ") for line in shown.splitlines()] == lines


def test_long_lists_are_shortened_unless_full(capsys: pytest.CaptureFixture[str]):
    assert main(["tables", "diff", "cms_hcc_v24/2025", "cms_hcc_v28/2026"]) == 0
    short = capsys.readouterr().out
    assert main(["tables", "diff", "cms_hcc_v24/2025", "cms_hcc_v28/2026", "--full"]) == 0
    full = capsys.readouterr().out
    assert "(--full)" in short
    assert len(short.splitlines()) < 400
    assert "(--full)" not in full
    assert "…" not in full.partition("Facts (model.toml)")[2]
    assert re.search(r"  HCC18 \(Diabetes with Chronic Complications\) -> HCC37 \(.*\): \d+ codes\n", full)
    words = set(full.split())
    changes = diff_tables(find_tables("cms_hcc_v24/2025"), find_tables("cms_hcc_v28/2026"))
    assert all(change.name in words for change in changes if change.table == "codes")


def test_equal_folders_have_no_change(capsys: pytest.CaptureFixture[str]):
    assert main(["tables", "diff", "cms_hcc_v28/2026", "cms_hcc_v28/2026"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cms_hcc_v28/2026 -> cms_hcc_v28/2026"
    assert all(line.endswith("no change") for line in lines[2:])


# -------------------------------------------------------------------- the command line


def test_csv_is_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "changes.csv"
    assert main(["tables", "diff", "cms_hcc_v24/2025", "cms_hcc_v28/2026", "--csv", str(out)]) == 0
    assert "(--full)" in capsys.readouterr().out
    with out.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["table", "change", "name", "detail", "old", "new", "difference"]
    changes = diff_tables(find_tables("cms_hcc_v24/2025"), find_tables("cms_hcc_v28/2026"))
    assert [Change(*row) for row in rows] == changes
    assert b"\r" not in out.read_bytes()


def test_csv_is_written_whole_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "changes.csv"
    out.write_text("before")

    def changes():
        yield Change("codes", "added", "E119")
        raise OSError("the disk is full")

    with pytest.raises(OutputError):
        write_csv(changes(), out)
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out]
    for name in ("changes.parquet", "missing/changes.csv"):
        arguments = ["tables", "diff", "cms_hcc_v28/2024", "cms_hcc_v28/2026", "--csv", str(tmp_path / name)]
        assert main(arguments) == 1
        streams = capsys.readouterr()
        assert streams.out == ""
        assert name in streams.err


def test_folders_and_names(
    v28: ModelTables,
    copied: Callable[..., ModelTables],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    own = copied(codes=swap(("icd10cm,E119,HCC38,\n", ""))).folder
    assert find_tables("cms_hcc_v28/2026") == v28
    assert main(["tables", "diff", "cms_hcc_v28/2026", str(own)]) == 0
    assert capsys.readouterr().out.startswith(f"cms_hcc_v28/2026 -> cms_hcc_v28/2026 ({own})\n")
    monkeypatch.chdir(tmp_path)  # a folder takes precedence over packaged tables
    assert find_tables("cms_hcc_v28/2026").folder == own
    monkeypatch.chdir(own)
    assert find_tables(".").folder == own


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cms_hcc_v28/1999", "exists for the years"),
        ("nothing/2026", "the models are"),
        ("cms_hcc_v28", "neither a model folder nor the name of packaged tables"),
        ("cms_hcc_v28/26", "neither a model folder nor the name of packaged tables"),
    ],
)
def test_unknown_tables(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownModelError, match=message):
        find_tables(name)
    assert main(["tables", "diff", "cms_hcc_v28/2026", name]) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert message in streams.err


def test_faulty_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(TableError, match=re.escape("model.toml: this table is missing")):
        find_tables(str(tmp_path))
    assert main(["tables", "diff", str(tmp_path), "cms_hcc_v28/2026"]) == 1
    assert "model.toml: this table is missing" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["cms_hcc_v28/2026"], ["a", "b", "c"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(["tables", "diff", *arguments])
    assert stopped.value.code == 2
    assert "usage: hccore" in capsys.readouterr().err


def test_starts_without_heavy_imports():
    code = (
        "import sys; from hccore.analysis import table_changes, table_changes_text as text; "
        "t = table_changes.find_tables('cms_hcc_v28/2026'); list(text.report(t, t, [])); "
        "sys.exit(' '.join({'numpy', 'pandas', 'numba', 'pyarrow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
