"""Read all tables of a model folder, check them and put them together.

Each `read_...` module reads the tables of one subject. Every error is a `TableError` with file, line and column.
"""

from __future__ import annotations

from hccore.base.errors import TableError
from hccore.tables.reachability import check_reachability
from hccore.tables.read_codes import read_codes, read_hierarchy
from hccore.tables.read_model_toml import read_applies_with, read_counted, read_model_toml
from hccore.tables.read_rules import read_rules
from hccore.tables.read_segments import read_coefficients, read_multipliers, read_segments
from hccore.tables.read_variables import read_flags, read_groups, read_variables
from hccore.tables.schema import ModelTables, distinct_targets
from hccore.tables.table_files import TableFiles


def read_tables(files: TableFiles) -> ModelTables:
    """Read and check the tables of a model folder.

    Each table is read after those that it refers to.

    Raises
    ------
    TableError
        For the first error found.
    """
    try:
        return _read_tables(files)
    except TableError as error:
        if error.file is not None:
            raise
        raise TableError(str(error), files.folder) from None  # conditions that cannot be checked together


def _read_tables(files: TableFiles) -> ModelTables:
    toml = files.folder / "model.toml"
    settings = read_model_toml(files)
    variables = read_variables(files)
    flags = read_flags(files, variables)
    groups = read_groups(files, variables)
    segments = read_segments(files)
    codes = read_codes(files, variables)
    accepted = settings.get("accepted", {})
    service_year = settings.get("service_year", False)
    diagnosis_targets = distinct_targets([codes.get("icd10cm", {})])
    tables = ModelTables(
        folder=files.folder,
        model=settings["model"],
        year=settings["year"],
        title=settings["title"],
        program=settings["program"],
        age_as_of=settings["age_as_of"],
        sequential_hierarchy=settings["hierarchy"] == "sequential",
        notes=tuple(settings.get("notes", ())),
        accepted=accepted,
        sources=tuple(settings.get("sources", ())),
        variables=variables,
        flags=flags,
        groups=groups,
        rules=read_rules(files, variables, groups, flags),
        hierarchy=read_hierarchy(files, variables, accepted),
        codes=codes,
        coefficients=read_coefficients(files, variables, segments),
        segments=segments,
        multipliers=read_multipliers(files),
        dated=service_year or any(target.service_condition.text for target in diagnosis_targets),
        service_year=service_year,
        age_from_column="age_from" in settings,
        counted=read_counted(settings, variables, toml),
        applies_with=read_applies_with(settings, toml),
        files=files.sha256_by_name,
    )
    check_reachability(tables, files.path)
    return tables
