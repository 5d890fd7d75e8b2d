"""What notebooks show of results and explanations: HTML in which every text is escaped."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from hccore import load_model

V28 = load_model("cms_hcc_v28", 2026)
HHS_MEMBER = {"age": 30, "sex": "F", "metal": "silver", "csr_indicator": 3, "enrollment_months": 12}
TAGS = {"p", "br", "table", "thead", "tbody", "tr", "th", "td"}


class Cells(HTMLParser):
    """The rows of all tables, and the tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        self.in_cell = tag in ("td", "th")
        if self.in_cell:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = False


def members(*ids: str) -> pa.Table:
    n = len(ids)
    facts = {"age": [70] * n, "sex": ["F"] * n, "orec": [0] * n, "dual_status": ["none"] * n}
    return pa.table({"member_id": list(ids), **facts})


def test_showing_a_result_scores_nothing() -> None:
    result = V28.score(members("A", "B"), [{"member_id": "A", "icd10": "E119"}])
    text = result._repr_html_()
    assert not result._run._counted_blocks
    assert ["cms_hcc_v28", "2026", "COMMUNITY_NA", "2", ""] in Cells(text).rows
    assert "2 members, 2 scored, 0 not scored" in text
    assert "have not been read yet" in text


@pytest.mark.parametrize(
    "frame", [lambda table: table, lambda table: table.to_pandas(), lambda table: pl.from_arrow(table)]
)
def test_scores_that_were_read_are_shown(frame: Callable[[pa.Table], object]) -> None:
    ids = [f"M{number}" for number in range(30)]
    result = V28.score(frame(members(*ids)), [{"member_id": "M0", "icd10": "E119"}])
    scores = pa.Table.from_batches(result.table().to_batches())
    assert len(result.scores) == 30
    shown = Cells(result._repr_html_()).rows
    mean = sum(scores["raw_score"].to_pylist()) / 30
    assert ["cms_hcc_v28", "2026", "COMMUNITY_NA", "30", f"{mean:.3f}"] in shown
    assert [row[0] for row in shown if row[0].startswith("M")] == ids[:5]
    assert "The first 5 of 30 rows" in result._repr_html_()


def test_a_result_is_shown_with_months_all_segments_or_nobody_scored() -> None:
    months = members("A", "A").append_column("month", pa.array([1, 2]))
    assert "1 member, 2 member-months, 2 scored" in V28.score(months, [])._repr_html_()
    every = V28.score(members("A"), [], all_segments=True)
    assert len(every.scores) == 1
    assert "A" in [row[0] for row in Cells(every._repr_html_()).rows]
    invalid = members("A").set_column(2, "sex", pa.array(["X"]))
    nobody = V28.score(invalid, [], on_invalid="null")
    assert len(nobody.scores) == 1
    assert "0 scored, 1 not scored" in nobody._repr_html_()


def test_a_changed_frame_is_still_shown() -> None:
    result = V28.score(members("A").to_pandas(), [])
    del result.scores["raw_score"]
    assert ["A", "cms_hcc_v28"] in [row[:2] for row in Cells(result._repr_html_()).rows]


def test_ids_cannot_add_markup() -> None:
    result = V28.score(members("<script>alert(1)</script>", "&amp;"), [])
    assert len(result.scores) == 2
    cells = Cells(result._repr_html_())
    assert cells.tags <= TAGS
    assert {"<script>alert(1)</script>", "&amp;"} <= {row[0] for row in cells.rows}


def test_an_explanation_is_a_table_of_its_terms() -> None:
    explanation = load_model("hhs_hcc", 2026).explain(
        HHS_MEMBER, [("E119", "2026-01-01"), ("E1110", "2026-01-01"), ("<b>&", "2026-01-01")]
    )
    cells = Cells(explanation._repr_html_())
    terms = explanation.contributions
    assert len([term for term in terms if term.coefficient is None]) == 2
    for term in terms:
        amount = "dropped" if term.coefficient is None else f"{term.coefficient / 1000:.3f}"
        label = f"by {term.dropped_by}" if term.coefficient is None else term.label
        assert [amount, term.variable, label, ", ".join(term.codes)] in cells.rows
    assert [f"{explanation.raw_score:.3f}", "total", "", ""] in cells.rows
    assert [f"{explanation.adjusted_score:.3f}", "adjusted", "", ""] in cells.rows
    assert cells.tags <= TAGS
    assert "not in the model: &lt;B&gt;&amp;" in explanation._repr_html_()


def test_one_member_is_in_the_singular() -> None:
    months = members("A", "A").append_column("month", pa.array([1, 2]))
    assert repr(V28.score(members("A"), [])) == "<hccore result: 1 member, cms_hcc_v28 2026>"
    assert repr(V28.score(members("A", "B"), [])) == "<hccore result: 2 members, cms_hcc_v28 2026>"
    assert repr(V28.score(months, [])) == "<hccore result: 1 member (2 months), cms_hcc_v28 2026>"
    assert "hccore result: 1 member, 1 scored" in V28.score(members("A"), [])._repr_html_()
