"""The page "Where things are" in CONTRIBUTING.md names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hccore

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PAGE = TEXT.partition("## Where things are")[2].partition("\n## ")[0]
PACKAGE = Path(hccore.__file__).parent
FILES = sorted(set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", PAGE)))


def test_there_are_twenty_questions():
    assert len(re.findall(r"^\| [A-Z][^|]*\?", PAGE, re.MULTILINE)) >= 20


@pytest.mark.parametrize("name", FILES)
def test_the_file_exists(name: str):
    assert (PACKAGE / name).is_file() or any(PACKAGE.rglob(name))


@pytest.mark.parametrize("name", re.findall(r"\| `([a-z_]+)` \|", PAGE))
def test_the_package_exists_and_says_what_it_may_import(name: str):
    text = (PACKAGE / name / "__init__.py").read_text("utf-8")
    assert re.search(r"[Ii]mport", text), name


@pytest.mark.parametrize("where", re.findall(r"`([a-z/_]+\.py)` \(`([a-z_]+)`\)", PAGE))
def test_the_function_is_there(where: tuple[str, str]):
    file, function = where
    assert f"def {function}(" in (PACKAGE / file).read_text("utf-8")
