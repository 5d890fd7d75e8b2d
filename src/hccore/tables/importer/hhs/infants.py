"""The infant model: maturity by severity, and the male terms (DIY Table 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hccore.base.errors import TableError
from hccore.tables.importer.hhs.categories import Categories
from hccore.tables.importer.hhs.factors import FactorTables
from hccore.tables.importer.hhs.populations import INFANT
from hccore.tables.importer.hhs.release import EXCLUDED_HCCS, MATURITY, SEVERITY, Release

# Both lists begin with the value that takes precedence.
_MATURITIES = ("EXTREMELY_IMMATURE", "IMMATURE", "PREMATURE_MULTIPLES", "TERM")
_SEVERITIES = ("SEVERITY5", "SEVERITY4", "SEVERITY3", "SEVERITY2", "SEVERITY1")
_LOWEST_SEVERITY = _SEVERITIES[-1]
_AGE_1 = "AGE1"  # maturity of infants of 1, and of infants of 0 without a newborn HCC
_MALES = {0: "AGE0_MALE", 1: "AGE1_MALE"}


def add_infants(release: Release, categories: Categories, factors: FactorTables) -> None:
    """Add the variables of the infant model.

    An infant has one maturity and one severity. Among several, the first maturity and the highest
    severity for which the infant has an HCC count. Infants of age 1, and infants of age 0 without a
    newborn HCC, have the maturity `AGE1`. Infants without an HCC of severity 2 to 5 have severity 1.
    A male of age 0 with the maturity `AGE1` has the male term of age 1.
    """
    maturity_hccs = _read_hccs(release, MATURITY, "maturity_category", _MATURITIES, categories)
    severity_hccs = _read_hccs(release, SEVERITY, "severity_category", _SEVERITIES, categories)
    used = {hcc for hccs in (*maturity_hccs.values(), *severity_hccs.values()) for hcc in hccs}
    for hcc in categories.only_in_infant_model():
        if hcc not in used:
            raise categories.rows[hcc].error("HHS_HCC", f"{hcc} is in none of the three models")
    _add_age_flags(release)
    _add_first_with_hcc(release, "INFANT_AGE_0", _MATURITIES, maturity_hccs)
    _add_if_none(release, _AGE_1, _MATURITIES, "Infant of 1, or without a newborn HCC")
    higher_severities = _SEVERITIES[:-1]
    _add_first_with_hcc(release, INFANT.name, higher_severities, severity_hccs)
    _add_if_none(release, _LOWEST_SEVERITY, higher_severities, "Infant without an HCC of severity 2 to 5")
    _add_maturity_by_severity(release, factors)
    _add_males(release, factors)


def _flag(value: str) -> str:
    """CMS's name of the flag of a maturity or severity."""
    return f"IHCC_{value}"


def _read_hccs(
    release: Release, stem: str, column: str, values: Iterable[str], categories: Categories
) -> dict[str, tuple[str, ...]]:
    """The HCCs of each maturity or severity."""
    file = release.package[stem]
    file.check_columns((column, "HCC_list"))
    value_of_flag = {_flag(value): value for value in values}
    hccs: dict[str, list[str]] = {value: [] for value in value_of_flag.values()}
    seen: set[str] = set()
    for row in file.rows():
        flag = row.required(column)
        if flag not in value_of_flag:
            raise row.error(column, f"{flag!r} is none of {', '.join(value_of_flag)}")
        hcc = categories.require(row, "HCC_list")
        if hcc in seen:
            raise row.error("HCC_list", f"{hcc} has two rows")
        if not categories.is_in_model(hcc, INFANT):
            raise row.error("HCC_list", f"{EXCLUDED_HCCS} says that {hcc} is not in the infant model")
        seen.add(hcc)
        hccs[value_of_flag[flag]].append(hcc)
    for flag, value in value_of_flag.items():
        if not hccs[value]:
            raise TableError(f"{flag} has no HCC", file.path)
    return {value: tuple(names) for value, names in hccs.items()}


def _add_age_flags(release: Release) -> None:
    for age in _MALES:
        release.folder.add_flag(
            f"INFANT_MALE_{age}", f"age = {age} and sex = male", label=f"Male infant of {age}"
        )
    release.folder.add_flag("INFANT_AGE_0", "age = 0", label="Infant of 0")


def _add_first_with_hcc(
    release: Release, infants: str, values: Iterable[str], hccs: Mapping[str, tuple[str, ...]]
) -> None:
    """Add rules that set the flag of the first value for which the infant has an HCC."""
    earlier: list[str] = []
    for value in values:
        words = value.replace("_", " ").lower().replace("severity", "severity ")
        release.folder.add_variable(_flag(value), "flag", label=f"Infant, {words}")
        any_hcc = release.any_of(f"{value}_HCCS", hccs[value])
        release.folder.add_rule("after", _flag(value), when=f"{infants} {any_hcc}", unless=" ".join(earlier))
        earlier.append(_flag(value))


def _add_if_none(release: Release, value: str, others: Iterable[str], label: str) -> None:
    """Add a rule that sets the flag of a value for infants with none of the other values."""
    release.folder.add_variable(_flag(value), "flag", label=label)
    release.folder.add_rule(
        "after", _flag(value), when=INFANT.name, unless=" ".join(_flag(other) for other in others)
    )


def _add_maturity_by_severity(release: Release, factors: FactorTables) -> None:
    for maturity in (*_MATURITIES, _AGE_1):
        for severity in _SEVERITIES:
            name = f"{maturity}_X_{severity}"
            factors.take(INFANT, name)
            words = maturity.replace("_", " ").capitalize()
            release.folder.add_variable(name, "severity", label=f"{words}, severity {severity[-1]}")
            release.folder.add_rule("after", name, when=f"{_flag(maturity)} {_flag(severity)}")


def _add_males(release: Release, factors: FactorTables) -> None:
    folder = release.folder
    for age, name in _MALES.items():
        factors.take(INFANT, name)
        folder.add_variable(name, "term", label=f"Male infant, {age}")
    as_age_1 = f"{_MALES[0]}_AS_AGE1"
    folder.add_variable(as_age_1, "flag", label="Male infant of 0 who has the term of 1")
    folder.add_rule("after", _MALES[0], when="INFANT_MALE_0", unless=_flag(_AGE_1))
    folder.add_rule("after", as_age_1, when=f"INFANT_MALE_0 {_flag(_AGE_1)}")
    folder.add_rule("after", _MALES[1], when=as_age_1)
    folder.add_rule("after", _MALES[1], when="INFANT_MALE_1")
