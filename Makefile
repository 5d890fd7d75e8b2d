# Everything here needs make and Python >= 3.11, nothing else.
#   make demo PYTHON=python3.12     another interpreter
#   make test ARGS="-k hierarchy"   arguments for pytest
#   make test ARGS="-n 2"           in two processes
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
BIN    := $(VENV)/bin
LOWEST := $(VENV)-lowest

.PHONY: help demo test test-lowest fuzz lint bench bench-short clean
.DELETE_ON_ERROR:

help:
	@echo "make demo         install into $(VENV) and score the sample population"
	@echo "make test         run the tests"
	@echo "make test-lowest  run the tests, without the slow ones, with the lowest versions that pyproject.toml allows"
	@echo "make fuzz         feed damaged files for 5 minutes; ARGS=\"--minutes 60\", ARGS=\"--replay .fuzz/CASE\""
	@echo "make lint         ruff, mypy and the layers of the packages"
	@echo "make bench        measure, and write benchmarks/results.md and results.json"
	@echo "make bench-short  the same on 20,000 members; fails only on a wrong answer"
	@echo "make clean        remove $(VENV), $(VENV)-*, caches and generated data"

demo: $(VENV)/.base
	@$(BIN)/hccore demo

test: $(VENV)/.test
	$(BIN)/python -m pytest $(ARGS)

test-lowest: $(LOWEST)/.lowest
	$(LOWEST)/bin/python -m pytest -m "not slow" $(ARGS)

fuzz: $(VENV)/.test
	$(BIN)/python -m tests.fuzz $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.report $(ARGS)

bench-short: $(VENV)/.dev
	$(BIN)/python -m benchmarks.report --short $(ARGS)

# --- set-up: one stamp per set of dependencies, renewed when pyproject.toml changes --------------

$(VENV)/.python $(LOWEST)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "hccore needs Python 3.11 or newer, but '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name a newer one: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12" >&2; exit 1; }
	@echo "Creating $(@D) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(@D)
	@touch $@

$(VENV)/.base: pyproject.toml | $(VENV)/.python
	@echo "Installing hccore into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test $(VENV)/.dev $(VENV)/.spark: $(VENV)/.%: pyproject.toml | $(VENV)/.python
	@echo "Installing hccore[$*] into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# pip has no option for the lowest versions; uv has one.
$(LOWEST)/.lowest: pyproject.toml | $(LOWEST)/.python
	@echo "Installing hccore[test] into $(LOWEST), with the lowest versions"
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-* build dist benchmarks/.data .benchmarks .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
