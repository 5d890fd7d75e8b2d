"""The command line: exit codes, files and messages."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest

import hccore
from hccore.cli import main, score as score_command

pytestmark = pytest.mark.usefixtures("restored_signal_handler")

V28 = ["--model", "cms_hcc_v28", "--year", "2026"]


@pytest.fixture
def sample(root: Path) -> list[str]:
    return [str(root / "data_samples" / name) for name in ("members.csv", "diagnoses.csv")]


@pytest.fixture
def golden(root: Path) -> Path:
    return root / "tests" / "golden" / "cms_hcc_v28" / "2026"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# -------------------------------------------------------------------- score


def test_score_writes_one_row_per_member_in_order(sample: list[str], tmp_path: Path):
    out = tmp_path / "out.csv"
    assert main(["score", *sample, *V28, "--out", str(out), "--quiet"]) == 0
    written = rows(out)
    assert [row["member_id"] for row in written] == [row["member_id"] for row in rows(Path(sample[0]))]
    assert tuple(written[0])[:7] == (
        "member_id",
        "model",
        "year",
        "segment",
        "raw_score",
        "demographic_score",
        "disease_score",
    )
    assert {(row["model"], row["year"]) for row in written} == {("cms_hcc_v28", "2026")}
    assert all(len(row["raw_score"].split(".")[1]) == 3 for row in written)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".arrow"])
def test_score_writes_the_same_in_every_format(ending: str, sample: list[str], tmp_path: Path):
    out = tmp_path / f"out{ending}"
    assert main(["score", *sample, *V28, "--out", str(out), "--quiet"]) == 0
    wanted = hccore.load_model("cms_hcc_v28", 2026).score(*sample).scores.to_pylist()
    if ending in (".parquet", ".arrow"):
        table = parquet.read_table(out) if ending == ".parquet" else feather.read_table(out)
        assert table.to_pylist() == wanted
    else:
        data = gzip.decompress(out.read_bytes()) if ending.endswith(".gz") else out.read_bytes()
        got = list(csv.DictReader(data.decode().splitlines()))
        assert [float(row["raw_score"]) for row in got] == [row["raw_score"] for row in wanted]
        assert [row["hccs"].split() for row in got] == [row["hccs"] for row in wanted]


def test_all_segments_has_the_columns_of_cms(golden: Path, tmp_path: Path):
    out = tmp_path / "out.csv"
    inputs = [str(golden / name) for name in ("beneficiaries.csv", "diagnoses.csv")]
    options = ["--all-segments", "--exact-codes", "--quiet", "--out", str(out)]
    assert main(["score", *inputs, *V28, *options]) == 0
    expected = [
        {name: cell for name, cell in row.items() if name != "exact_code_match"}
        for row in rows(golden / "expected.csv")
    ]
    assert rows(out) == expected
    assert out.read_text("utf-8").splitlines()[0] == ",".join(expected[0])


def test_columns_chooses_and_orders(sample: list[str], tmp_path: Path):
    out = tmp_path / "out.csv"
    options = ["--columns", "raw_score,member_id,segment_reason", "--out", str(out), "--quiet"]
    assert main(["score", *sample, *V28, *options]) == 0
    assert list(rows(out)[0]) == ["raw_score", "member_id", "segment_reason"]


def test_contributions_add_up_to_the_scores(sample: list[str], tmp_path: Path):
    out, terms = tmp_path / "out.csv", tmp_path / "terms.csv"
    assert main(["score", *sample, *V28, "--out", str(out), "--contributions", str(terms), "--quiet"]) == 0
    total: dict[str, int] = {}
    for row in rows(terms):
        amount = round(float(row["coefficient"] or 0) * 1000)
        total[row["member_id"]] = total.get(row["member_id"], 0) + amount
        assert bool(row["coefficient"]) != bool(row["dropped_by"])
        if row["kind"] == "category":
            assert row["codes"]
    assert total == {row["member_id"]: round(float(row["raw_score"]) * 1000) for row in rows(out)}


def test_the_report_adds_up(sample: list[str], tmp_path: Path):
    out, path = tmp_path / "out.csv", tmp_path / "report.json"
    assert main(["score", *sample, *V28, "--out", str(out), "--report", str(path), "--quiet"]) == 0
    report = json.loads(path.read_text("utf-8"))
    counts = report["codes"]["diagnoses"]
    assert counts["rows"] == len(rows(Path(sample[1])))
    assert counts["rows"] == sum(count for name, count in counts.items() if name != "rows")
    members = report["members"]
    assert members["rows"] == len(rows(Path(sample[0])))
    assert members["scored"]["cms_hcc_v28 2026"] == sum(members["by_segment"]["cms_hcc_v28 2026"].values())
    assert report["hccore"] == hccore.__version__
    assert report["models"][0]["tables"]["codes.csv"]
    assert report["inputs"]["members"]["path"] == sample[0]
    assert set(report["timings"]) >= {"members", "codes", "score"}


def test_several_models(sample: list[str], tmp_path: Path):
    out = tmp_path / "out.csv"
    models = ["--model", "cms_hcc_v24", "--model", "cms_hcc_v28", "--year", "2025"]
    assert main(["score", *sample, *models, "--out", str(out), "--quiet"]) == 0
    n = len(rows(Path(sample[0])))
    assert [row["model"] for row in rows(out)] == ["cms_hcc_v24"] * n + ["cms_hcc_v28"] * n
    both = ["--model", "cms_hcc_v24", "--model", "cms_hcc_v28", "--year", "2024", "--year", "2027"]
    assert main(["score", *sample, *both, "--out", str(out), "--quiet"]) == 0
    assert {(row["model"], row["year"]) for row in rows(out)} == {
        ("cms_hcc_v24", "2024"),
        ("cms_hcc_v28", "2027"),
    }


def test_assume_replaces_a_missing_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "m.csv").write_text("member_id,age,sex\nA,70,F\n", "utf-8")
    (tmp_path / "d.csv").write_text("member_id,icd10\nA,E119\n", "utf-8")
    base = ["score", str(tmp_path / "m.csv"), str(tmp_path / "d.csv"), *V28, "--out", str(tmp_path / "o.csv")]
    assert main(base) == 1
    assert "no column dual_status" in capsys.readouterr().err
    assert main([*base, "--assume", "orec=0", "--assume", "dual_status=full"]) == 0
    assert "note: column dual_status: full for all members (as requested)" in capsys.readouterr().err
    assert rows(tmp_path / "o.csv")[0]["segment"] == "COMMUNITY_FBA"


def test_invalid_members_stop_the_run_or_get_null_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = "member_id,age,sex,orec,dual_status\nSECRET,70,X,0,none\nB,70,F,0,none\n"
    (tmp_path / "m.csv").write_text(text, "utf-8")
    (tmp_path / "d.csv").write_text("member_id,icd10\nB,E119\nZ,E119\n", "utf-8")
    out = tmp_path / "o.csv"
    base = ["score", str(tmp_path / "m.csv"), str(tmp_path / "d.csv"), *V28, "--out", str(out)]
    assert main(base) == 1
    message = capsys.readouterr().err
    assert message.startswith("hccore: members")
    assert "SECRET" not in message
    assert not out.exists()
    assert main([*base, "--on-invalid", "null"]) == 0
    message = capsys.readouterr().err
    assert "note: 1 member not scored: sex has an invalid value: 'X' (1); expected male" in message
    assert "note: diagnoses: 1 of 2 rows: unknown member" in message
    assert [row["raw_score"] for row in rows(out)] == ["", "0.561"]


def test_quiet_prints_nothing(sample: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["score", *sample, *V28, "--out", str(tmp_path / "o.csv"), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_score_prints_only_to_standard_error(
    sample: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["score", *sample, *V28, "--out", str(tmp_path / "o.csv")]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "members scored in" in captured.err


# -------------------------------------------------------------------- errors

ERRORS = [
    (["--out", "out.xlsx"], "unknown file format"),
    (["--out", "nowhere/out.csv"], "there is no folder"),
    (["--out", "out.csv", "--report", "report.txt"], "must end in .json"),
    (["--out", "out.csv", "--contributions", "terms"], "unknown file format"),
    (["--out", "out.csv", "--columns", "raw_score,raw"], "there is no column 'raw'"),
    (["--out", "out.csv", "--columns", "year,model,year"], "year is given more than once"),
    (["--out", "out.csv", "--assume", "sexx=M"], "there is no member column 'sexx'"),
]


@pytest.mark.parametrize(("options", "words"), ERRORS)
def test_an_error_in_the_request_is_1(
    options: list[str],
    words: str,
    sample: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert main(["score", *sample, *V28, *options]) == 1
    message = capsys.readouterr().err
    assert message.startswith("hccore: ")
    assert words in message
    assert "Traceback" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (["--model", "cms_hcc_v99", "--year", "2026"], "the models are cms_hcc_v22"),
        (["--model", "cms_hcc_v28", "--year", "1999"], "exists for the years 2024"),
    ],
)
def test_an_unknown_model_is_1(
    model: list[str], words: str, sample: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["score", *sample, *model, "--out", str(tmp_path / "o.csv")]) == 1
    assert words in capsys.readouterr().err


def test_a_missing_file_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    missing = str(tmp_path / "missing.csv")
    assert main(["score", missing, missing, *V28, "--out", str(tmp_path / "o.csv")]) == 1
    assert f"members {missing}: there is no such file" in capsys.readouterr().err


USAGE = [
    [],
    ["scores"],
    ["score"],
    ["score", "m.csv", "d.csv"],
    ["score", "m.csv", "d.csv", "--model", "cms_hcc_v28", "--out", "o.csv"],
    ["score", "m.csv", "d.csv", "--model", "cms_hcc_v28", "--year", "soon", "--out", "o.csv"],
    ["score", "m.csv", "d.csv", *V28],
    ["score", "m.csv", "d.csv", *V28, "--year", "2027", "--out", "o.csv"],
    ["score", "m.csv", "d.csv", *V28, "--out", "o.csv", "--on-invalid", "skip"],
    ["score", "m.csv", "d.csv", *V28, "--out", "o.csv", "--threads", "many"],
    ["score", "m.csv", "d.csv", *V28, "--out", "o.csv", "--unknown"],
    ["score", "m.csv", "d.csv", *V28, "--out", "o.csv", "--assume", "orec"],
    ["score", "m.csv", "d.csv", *V28, "--out", "o.csv", "--all-segments", "--contributions", "c.csv"],
    ["explain", "m.csv", "d.csv", *V28],
    ["tables"],
]


@pytest.mark.parametrize("arguments", USAGE, ids=lambda arguments: " ".join(arguments) or "nothing")
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: hccore" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"], ["--version"]])
def test_help_and_version_are_0(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "hccore" in capsys.readouterr().out


# -------------------------------------------------------------------- explain, models, demo


def test_explain_prints_every_term(sample: list[str], capsys: pytest.CaptureFixture[str]):
    model = hccore.load_model("cms_hcc_v28", 2026)
    scores = model.score(*sample).scores.to_pylist()
    chosen = max(scores, key=lambda row: row["payment_hcc_count"])
    assert main(["explain", *sample, *V28, "--member", chosen["member_id"]]) == 0
    text = capsys.readouterr().out
    assert f"cms_hcc_v28 2026: {chosen['raw_score']:.3f} ({chosen['segment']}: " in text
    assert f"{chosen['raw_score']:.3f}  total" in text
    assert all(f"HCC{number} " in text for number in chosen["hccs"])


def test_explain_json_equals_the_scores(sample: list[str], capsys: pytest.CaptureFixture[str]):
    model = hccore.load_model("cms_hcc_v28", 2026)
    chosen = model.score(*sample).scores.to_pylist()[17]
    two = ["--model", "cms_hcc_v24", "--model", "cms_hcc_v28", "--year", "2025", "--year", "2026", "--json"]
    assert main(["explain", *sample, *two, "--member", chosen["member_id"]]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["model"], first["year"]) == ("cms_hcc_v24", 2025)
    assert (second["raw_score"], second["segment"]) == (chosen["raw_score"], chosen["segment"])
    assert second["hccs"] == chosen["hccs"]
    counted = sum(round((part["coefficient"] or 0) * 1000) for part in second["contributions"])
    assert counted / 1000 == second["raw_score"]


def test_explain_of_an_unknown_member_does_not_print_the_id(
    sample: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(["explain", *sample, *V28, "--member", "SECRET"]) == 1
    message = capsys.readouterr().err
    assert "no row for the member asked for" in message
    assert "SECRET" not in message


def test_models_lists_all(capsys: pytest.CaptureFixture[str]):
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    years: dict[str, list[str]] = {}
    for name, year in hccore.models():
        years.setdefault(name, []).append(str(year))
    for name, found in years.items():
        assert f"{name}: {', '.join(found)}" in text


def test_models_json(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(item["model"], item["year"]) for item in listed] == hccore.models()
    for item in listed:
        assert item["segments"]
        assert item["sources"]
        assert {"age", "sex"} <= set(item["member_columns"])


def test_demo_shows_the_sample(capsys: pytest.CaptureFixture[str], sample: list[str]):
    assert main(["demo"]) == 0
    text = capsys.readouterr().out
    assert f"{len(rows(Path(sample[0]))):,} members, {len(rows(Path(sample[1]))):,} diagnosis rows" in text
    assert "total" in text


def test_as_a_process(sample: list[str], tmp_path: Path):
    """In a process: exit codes, no progress bar in a pipe, and any working folder."""
    command = [sys.executable, "-m", "hccore"]
    out = tmp_path / "out.csv"
    done = subprocess.run(
        [*command, "score", *sample, *V28, "--out", str(out)], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "%|" not in done.stderr
    assert "members scored in" in done.stderr.splitlines()[-1]
    assert len(rows(out)) == len(rows(Path(sample[0])))
    nowhere = ["--out", str(tmp_path / "no" / "out.csv")]
    failed = subprocess.run([*command, "score", *sample, *V28, *nowhere], capture_output=True, text=True)
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert subprocess.run([*command, "score"], capture_output=True, text=True).returncode == 2


# -------------------------------------------------------------------- as a process


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hccore", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, **options)


def test_a_process_prints_everything_before_it_ends(sample: list[str], tmp_path: Path):
    done = process("models", stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") > 20
    done = process("score", *sample, *V28, "--out", str(tmp_path / "out.csv"), stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, "")
    assert "members scored in" in done.stderr
    assert len(rows(tmp_path / "out.csv")) == len(rows(Path(sample[0])))


def test_exit_codes_of_a_process(sample: list[str], tmp_path: Path):
    missing = str(tmp_path / "nothing.csv")
    assert process("score", missing, missing, *V28, "--out", str(tmp_path / "out.csv")).returncode == 1
    assert process("score").returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_1():
    with Path("/dev/full").open("w") as full:
        done = process("models", stdout=full)
    assert done.returncode == 1
    assert "hccore: the output cannot be written: No space left on device" in done.stderr


def test_libraries_that_cannot_be_preloaded_are_ignored(
    sample: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for number, broken in enumerate(
        [("no such package", "*"), ("hccore", "model.py"), ("hccore", "nothing*")]
    ):
        monkeypatch.setattr(score_command, "_LIBRARIES", (broken,))
        assert main(["score", *sample, *V28, "--out", str(tmp_path / f"{number}.csv"), "--quiet"]) == 0
