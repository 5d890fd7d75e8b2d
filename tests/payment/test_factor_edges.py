"""The tables of payment factors and populations at the edges of what is allowed, and how factors are asked for."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from hccore.base.errors import InputError, MissingFactorError, TableError
from hccore.payment.factors import FactorKey, Factors
from hccore.payment.request import PaymentRequest

HEADER = "program,model,payment_year,population,kind,value,source_document,source_date,status,note\n"
POPULATIONS = """\
population,models,segments,frailty_from_age
all,alpha beta,ONE,
all,alpha,TWO THREE,55
few,beta,TWO,0
"""
ROWS = """\
ma,alpha,2026,all,blend_weight,0.25,Doc,2025-04-07,verified,
ma,beta,2026,all,blend_weight,0.75,Doc,2025-04-07,single_source,
ma,beta,2026,few,blend_weight,1,Doc,,verified,as told
ma,alpha,2025,all,blend_weight,1,Doc,2024-04-01,verified,
pace,alpha,2026,all,blend_weight,1,Doc,2025-04-07,verified,
ma,alpha,2026,all,normalization,,Doc,2025-04-07,unverified,perhaps 1.1
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tables in the place of the packaged one."""
    monkeypatch.setattr("hccore.payment.factors.mappings_root", lambda: tmp_path)
    write(tmp_path)
    return tmp_path


def write(root: Path, rows: str = ROWS, populations: str = POPULATIONS, header: str = HEADER) -> None:
    (root / "payment_factors.csv").write_text(header + rows, "utf-8")
    (root / "payment_populations.csv").write_text(populations, "utf-8")


def own(root: Path, *rows: str) -> Factors:
    path = root / "own.csv"
    path.write_text("\n".join(["program,model,payment_year,population,kind,value", *rows, ""]), "utf-8")
    return Factors.load(path)


# -------------------------------------------------------------------- what the tables say


def test_what_a_program_pays_by(root: Path) -> None:
    factors = Factors.load()
    assert factors.programs == ("ma", "pace")
    assert factors.programs_of("alpha", 2026) == ("ma", "pace")
    assert factors.programs_of("alpha", 2025) == ("ma",)
    assert factors.programs_of("beta", 2026) == ("ma",)
    assert factors.programs_of("beta", 2025) == ()
    assert factors.blend("ma", 2026, "all") == ("alpha", "beta")
    assert factors.blend("ma", 2026, "few") == ("beta",)
    assert factors.blend("ma", 2025, "all") == ("alpha",)
    assert factors.blend("pace", 2026, "all") == ("alpha",)
    assert factors.blend("pace", 2025, "all") == ()
    assert factors.populations_of("alpha") == ("all",)
    assert factors.populations_of("beta") == ("all", "few")
    assert factors.populations_of("gamma") == ()
    ages = {segment: one.frailty_from_age for segment, one in factors.populations["alpha"].items()}
    assert ages == {"ONE": None, "TWO": 55, "THREE": 55}
    assert factors.populations["beta"]["TWO"].frailty_from_age == 0


def test_a_factor_with_and_without_a_value(root: Path) -> None:
    factors = Factors.load()
    known = factors.get("ma", "beta", 2026, "few", "blend_weight")
    assert known.number == 1
    assert known.as_report() == {
        "program": "ma",
        "model": "beta",
        "payment_year": 2026,
        "population": "few",
        "kind": "blend_weight",
        "value": "1",
        "status": "verified",
        "source_document": "Doc",
        "source_date": "",
        "note": "as told",
    }
    assert "note" not in factors.get("ma", "alpha", 2026, "all", "blend_weight").as_report()
    unknown = FactorKey("ma", "alpha", 2026, "all", "normalization")
    absent = FactorKey("ma", "alpha", 2026, "all", "coding_adjustment")
    for ask in (lambda: factors.rows[unknown].number, lambda: factors.get(*unknown)):
        with pytest.raises(MissingFactorError, match=r"^1 payment factor has no verified value") as caught:
            ask()
        assert caught.value.missing == (unknown,)
        assert "see CMS's Doc of 2025-04-07 (perhaps 1.1)" in str(caught.value)
    with pytest.raises(MissingFactorError, match=r"^2 payment factors have no verified value") as caught:
        factors.need([known.key, unknown, absent])
    assert caught.value.missing == (unknown, absent)
    assert str(caught.value).endswith("see CMS's CY2026 Rate Announcement")
    assert factors.need([known.key]) == [known]


def test_models_of_a_blend_that_are_not_in_the_run(root: Path) -> None:
    payment = PaymentRequest.from_arguments("ma", Factors.load())
    assert payment.blend_partners([("alpha", 2026)]) == [("beta", 2026)]
    assert payment.blend_partners([("beta", 2026)]) == [("alpha", 2026)]
    assert payment.blend_partners([("alpha", 2026), ("beta", 2026)]) == []
    assert payment.blend_partners([("alpha", 2025)]) == []
    assert PaymentRequest.from_arguments("pace", Factors.load()).blend_partners([("alpha", 2026)]) == []


def test_factors_that_every_member_needs_are_asked_for_early(root: Path) -> None:
    payment = PaymentRequest.from_arguments("ma", Factors.load())
    with pytest.raises(MissingFactorError) as caught:
        payment.check_factors([("alpha", 2026)])
    assert [key.kind for key in caught.value.missing] == ["normalization", "coding_adjustment"]
    with pytest.raises(MissingFactorError) as caught:
        payment.check_factors([("beta", 2026), ("alpha", 2025)])
    assert {(key.model, key.year) for key in caught.value.missing} == {("alpha", 2025)}
    payment.check_factors([("beta", 2026)])  # of two populations: it depends on the members
    with pytest.raises(InputError, match="beta 2025 is not used by program ma"):
        payment.check_factors([("beta", 2025)])


def test_frailty_of_models_whose_members_get_none(root: Path) -> None:
    write(root, populations=POPULATIONS.replace("few,beta,TWO,0", "few,beta,TWO,"))
    for frailty in (0, "0.1", "frailty_score"):
        payment = PaymentRequest.from_arguments("ma", Factors.load(), frailty)
        payment.check_frailty(["alpha"])
        payment.check_frailty(["beta", "alpha"])
        with pytest.raises(InputError, match="no segment of beta gets a frailty score"):
            payment.check_frailty(["beta"])
        assert payment.adds_frailty
    PaymentRequest.from_arguments("ma", Factors.load()).check_frailty(["beta"])
    assert not PaymentRequest.from_arguments("ma", Factors.load()).adds_frailty
    write(root)
    PaymentRequest.from_arguments("ma", Factors.load(), "0.1").check_frailty(["beta"])  # from birth on


# -------------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("normalization", "0.5"),
        ("normalization", "2"),
        ("normalization", "1.0670000"),
        ("normalization", "1."),
        ("coding_adjustment", "0"),
        ("coding_adjustment", "0.5"),
        ("coding_adjustment", "0.059001"),
        ("blend_weight", "0"),
        ("blend_weight", "1.0"),
        ("blend_weight", "0.333333"),
    ],
)
def test_values_that_factors_may_have(root: Path, kind: str, value: str) -> None:
    factors = own(root, f"ma,alpha,2026,all,{kind},{value}")
    found = factors.get("ma", "alpha", 2026, "all", kind)
    assert (found.value, found.status, found.source_date) == (Decimal(value), "user", "")
    assert found.source_document == str(root / "own.csv")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("normalization", "0.499", "is from 0.5 to 2"),
        ("normalization", "2.001", "is from 0.5 to 2"),
        ("normalization", "1.0001", "more than 3 decimals"),
        ("coding_adjustment", "0.500001", "is from 0 to 0.5"),
        ("coding_adjustment", "0.0590001", "more than 6 decimals"),
        ("blend_weight", "1.000001", "is from 0 to 1"),
        ("blend_weight", "0.3333333", "more than 6 decimals"),
        ("blend_weight", ".5", "not a decimal number"),
        ("blend_weight", "1e0", "not a decimal number"),
    ],
)
def test_values_that_factors_may_not_have(root: Path, kind: str, value: str, words: str) -> None:
    with pytest.raises(TableError, match=words) as caught:
        own(root, f"ma,alpha,2026,all,{kind},{value}")
    assert (caught.value.line, caught.value.column) == (2, "value")


@pytest.mark.parametrize("year", ["1999", "2100", "20260", "2026.0", "MMXX"])
def test_years_that_are_none(root: Path, year: str) -> None:
    with pytest.raises(TableError, match="is not a year"):
        own(root, f"ma,alpha,{year},all,normalization,1.1")


def test_weights_above_one_are_refused(root: Path) -> None:
    factors = own(root, "ma,beta,2026,all,blend_weight,0.750001")
    with pytest.raises(InputError, match=r"add up to 1\.000001, not 1: alpha 0\.25, beta 0\.750001"):
        PaymentRequest.from_arguments("ma", factors)._check_weights("ma", 2026, "all")
    PaymentRequest.from_arguments("ma", Factors.load())._check_weights("ma", 2026, "all")


# -------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "words"),
    [
        ("Doc,2025-04-07,single_source", "Doc,2025-04-07,guessed", 3, "status", "'guessed' is unknown"),
        ("Doc,2025-04-07,single_source", "Doc,2025-04-07,user", 3, "status", "'user' is unknown"),
        ("Doc,2025-04-07,single_source", "Doc,2025-04-07,unverified", 3, "value", "has no value if and only if"),
        ("normalization,,", "normalization,1.1,", 7, "value", "has no value if and only if"),
        ("0.25,", ",", 2, "value", "has no value if and only if"),
        ("ma,beta,2026,few", "ma,beta,2026,all", 4, "kind", "is given twice"),
        ("ma,alpha,2026,all,normalization", "ma,gamma,2026,all,normalization", 7, "model", "one of alpha, beta"),
        ("ma,beta,2026,few", "ma,beta,2026,some", 4, "population", "one of all, few"),
        ("perhaps 1.1", "perhaps 1.1,", 7, None, "11 cells, the header has 10"),
        ("ma,beta,2026,few", "\n  ,  \nma,beta,2026,some", 6, "population", "one of all, few"),
    ],
)  # fmt: skip
def test_faults_of_the_packaged_factors(
    root: Path, old: str, new: str, line: int, column: str | None, words: str
) -> None:
    assert old in ROWS
    write(root, ROWS.replace(old, new, 1))
    with pytest.raises(TableError, match=words) as caught:
        Factors.load()
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("header", "column", "words"),
    [
        (HEADER.replace(",note", ""), None, "column note is missing"),
        (HEADER.replace("note", "value"), None, "column note is missing"),
        (HEADER.replace("note", "note,note"), "note", "column 'note' is repeated"),
        (HEADER.replace("note", "note,remark"), "remark", "unknown column 'remark'"),
    ],
)
def test_faults_of_a_header(root: Path, header: str, column: str | None, words: str) -> None:
    write(root, header=header)
    with pytest.raises(TableError, match=words) as caught:
        Factors.load()
    assert (caught.value.line, caught.value.column) == (1, column)


@pytest.mark.parametrize(
    ("row", "line", "column", "words"),
    [
        ("few,alpha,ONE,", 5, "segments", "ONE of alpha has two rows"),
        ("few,alpha,FOUR,old", 5, "frailty_from_age", "'old' is not a whole number"),
        ("few,alpha,FOUR,-1", 5, "frailty_from_age", "'-1' is not a whole number"),
        ("few,alpha,FOUR,²", 5, "frailty_from_age", "is not a whole number"),
        ("few,alpha", 5, None, "2 cells, the header has 4"),
    ],
)
def test_faults_of_the_populations(root: Path, row: str, line: int, column: str | None, words: str) -> None:
    write(root, populations=POPULATIONS + row + "\n")
    with pytest.raises(TableError, match=words) as caught:
        Factors.load()
    assert (caught.value.line, caught.value.column) == (line, column)


def test_files_that_are_no_text_or_no_csv(root: Path) -> None:
    file = root / "payment_factors.csv"
    file.write_bytes(HEADER.encode() + b"\xff\n")
    with pytest.raises(TableError, match=f"not UTF-8 text .* at byte {len(HEADER)}"):
        Factors.load()
    file.write_text(HEADER + 'ma,"alpha\n', "utf-8")
    with pytest.raises(TableError, match="not CSV"):
        Factors.load()
    file.write_text("", "utf-8")
    with pytest.raises(TableError, match="column program is missing"):
        Factors.load()
    file.unlink()
    with pytest.raises(TableError, match="cannot be read"):
        Factors.load()


def test_a_byte_order_mark_and_blanks_around_cells_do_not_matter(root: Path) -> None:
    plain = Factors.load()
    spaced = (HEADER + ROWS).replace(",", " , ").replace("\n", "\r\n")
    (root / "payment_factors.csv").write_bytes(b"\xef\xbb\xbf" + spaced.encode())
    assert Factors.load() == plain
