"""The columns of a member that models can use, and the values accepted in each.

Each column is defined once, for the reader of the members table, the conditions in the model tables, the error
messages and the documentation. Values are coded as small integers. A yes/no column is 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from hccore.base.errors import InputError

MAX_AGE = 130
_NONE: Mapping[str, int] = MappingProxyType({})
READ_AS_CMS = "cms"  # the value of `assume_blank` that reads a blank as CMS's programs do


class Column(NamedTuple):
    """One member column.

    Attributes
    ----------
    name : str
        Name in conditions and results, and the preferred header in the input.
    doc : str
        What the column means.
    aliases : tuple of str
        Other accepted headers, CMS's own names among them. Upper and lower case are the same.
    low, high : int
        Lowest and highest code.
    labels : mapping of str to int
        Names of the codes, for conditions and results, in the order in which results show them.
    spellings : mapping of str to int
        Further accepted values, lower case. The input may use upper case and blanks around the value.
    default : int or None
        Code of all members if the input lacks the column, which the run report mentions; None: the column is
        required.
    blank : int or None
        Code of a null or empty value, which the run report counts; None: such a value is invalid.
    yes_no_columns : mapping of str to int
        Yes/no columns that the input may contain instead of this one, and the code that "yes" stands for in each.
    blank_not_zero : int or None
        Code of a blank that is read as CMS's programs read it: as not "0", and as no other value either. It is
        above `high`, and only the option `assume_blank` gives it. None: CMS has no such reading of the column.
    refused : mapping of str to str
        Headers that look like this column and say too little to be read as it, and why.
    """

    name: str
    doc: str
    aliases: tuple[str, ...] = ()
    low: int = 0
    high: int = 1
    labels: Mapping[str, int] = _NONE
    spellings: Mapping[str, int] = _NONE
    default: int | None = None
    blank: int | None = None
    yes_no_columns: Mapping[str, int] = _NONE
    blank_not_zero: int | None = None
    refused: Mapping[str, str] = MappingProxyType({})

    @property
    def names(self) -> tuple[str, ...]:
        """The accepted headers, the preferred one first. Those of `yes_no_columns` are not among them."""
        return (self.name, *self.aliases)

    def code(self, value: object) -> int | None:
        """Code of a value in any accepted spelling, or None if the value is invalid."""
        if value is None:
            return self.blank
        if isinstance(value, bool):
            value = int(value)
        if isinstance(value, float):
            if value != value:  # NaN is pandas's null
                return self.blank
            if not value.is_integer():
                return None
            value = int(value)
        text = str(value).strip().lower()
        if text == "":
            return self.blank
        if text in self.spellings:
            return self.spellings[text]
        if text in self.labels:
            return self.labels[text]
        if text.endswith(".0"):  # a whole number written by a program that stored it as a float
            text = text[:-2]
        if text.isascii() and text.isdigit() and self.low <= int(text) <= self.high:
            return int(text)
        return None

    def show(self, code: int) -> str:
        """Label of a code; the code itself if it has no label."""
        if code == self.blank_not_zero:
            return "blank (not 0)"
        for label, value in self.labels.items():
            if value == code:
                return label
        return str(code)

    def blank_code(self, value: object) -> int | None:
        """Code of a blank to which the option `assume_blank` gives a value, or None if the value is invalid.

        The value "cms" stands for the code `blank_not_zero`.
        """
        if str(value).strip().lower() == READ_AS_CMS and self.blank_not_zero is not None:
            return self.blank_not_zero
        return None if is_blank(value) else self.code(value)

    def in_words(self, code: int) -> str:
        """Label of a code; yes or no for a yes/no column."""
        return ("no", "yes")[code] if self.spellings is YES_NO else self.show(code)

    def expects(self) -> str:
        """The accepted values as text, for error messages."""
        accepted = list(dict.fromkeys([*self.labels, *self.spellings]))
        if self.low <= self.high:
            accepted.append(f"{self.low}-{self.high}")
        return ", ".join(accepted)


def is_blank(value: object) -> bool:
    """Whether a cell has no value: a null, NaN (the null of pandas) or only blanks."""
    if isinstance(value, float):
        return value != value
    return value is None or (isinstance(value, str) and not value.strip())


YES_NO = {"y": 1, "n": 0, "yes": 1, "no": 0, "true": 1, "false": 0, "t": 1, "f": 0}


def _yes_no(name: str, doc: str, *aliases: str) -> Column:
    return Column(name, doc, aliases, spellings=YES_NO, default=0)


# CMS's dual status codes: full benefit 02, 04, 08; partial 01, 03, 05, 06; none 00, 09, 10 and blank
# (Plan Communications User Guide for Medicare Advantage and Part D, dual status code).
_DUAL_CODES = {"00": 0, "01": 1, "02": 2, "03": 1, "04": 2, "05": 1, "06": 1, "08": 2, "09": 0, "10": 0}
_DUAL_DIGITS = {str(int(code)): value for code, value in _DUAL_CODES.items()}
_COLUMNS = [
    Column(
        "age",
        "age in completed years (Medicare: on 1 February of the payment year; HHS: on the last day of enrollment)",
        ("age_last",),
        high=MAX_AGE,
    ),
    Column(
        "sex",
        "sex",
        ("gender",),
        low=1,
        high=2,
        labels={"male": 1, "female": 2},
        spellings={"m": 1, "f": 2},
    ),
    Column(
        "orec",
        "original reason for entitlement code",
        ("original_reason_entitlement_code",),
        high=3,
        # CMS's programs ask `OREC ne "0"` (macros AGESEXV2 and AGESEXV6), which holds for a blank.
        blank_not_zero=4,
    ),
    Column(
        "dual_status",
        "Medicaid dual status of the payment month: none, partial, full, or CMS's code 00-10",
        ("dual", "dual_status_code"),
        high=2,
        labels={"none": 0, "partial": 1, "full": 2},
        spellings={
            **_DUAL_CODES,
            **_DUAL_DIGITS,
            "nd": 0,
            "pbd": 1,
            "fbd": 2,
            "non": 0,
            "nondual": 0,
            "na": 0,
        },
        blank=0,
        yes_no_columns={"fbdual": 2, "pbdual": 1},
    ),
    _yes_no("institutional", "long-term institutional (LTI)", "lti", "long_term_institutional_flag"),
    _yes_no("new_enrollee", "fewer than 12 months of Part B in the data collection year"),
    _yes_no("c_snp", "enrolled in a chronic condition special needs plan", "csnp")._replace(
        refused={"snp": "it does not say which kind of special needs plan the member has"}
    ),
    _yes_no(
        "medicaid",
        "Medicaid, for continuing enrollees (LTIMCAID, MCAID)",
        "ltimcaid",
        "mcaid",
        "medicaid_indicator",
    ),
    _yes_no(
        "new_enrollee_medicaid", "Medicaid, for new enrollees (NEMCAID)", "nemcaid", "medicaid_indicator"
    ),
    _yes_no("low_income", "Part D low-income subsidy", "lis", "low_income_subsidy_indicator"),
    _yes_no("esrd", "end-stage renal disease (RxHCC new enrollees)"),
    Column(
        "esrd_status",
        "dialysis, transplant (months 1 to 3 after it) or graft (from month 4)",
        high=3,
        labels={"none": 0, "dialysis": 1, "transplant": 2, "graft": 3},
        blank=0,
    ),
    Column(
        "months_since_graft",
        "whole months since the kidney transplant (1 is the month of the transplant)",
        ("months_since_transplant", "transplant_duration_months"),
        high=999,
        default=0,
        blank=0,
    ),
    Column(
        "metal",
        "metal level of the plan",
        ("metal_level",),
        low=1,
        high=5,
        labels={"platinum": 1, "gold": 2, "silver": 3, "bronze": 4, "catastrophic": 5},
        # Issuers write "Expanded Bronze" for bronze plans of a higher actuarial value, which are bronze to CMS.
        spellings={"p": 1, "g": 2, "s": 3, "b": 4, "c": 5, "expanded bronze": 4},
    ),
    Column("csr_indicator", "cost-sharing reduction indicator of the year's CSR table", high=13),
    Column(
        "enrollment_months",
        "months of enrollment in the benefit year, 1-12",
        ("enrolduration", "enrollment_duration", "enrollment_duration_months"),
        low=1,
        high=12,
    ),
]
COLUMNS: Mapping[str, Column] = MappingProxyType({column.name: column for column in _COLUMNS})


def check_known(option: str, given: Mapping[str, object]) -> None:
    """Raise an InputError if an option names a column that is not a member column."""
    for name in given:
        if name not in COLUMNS:
            raise InputError(
                f"{option}: there is no member column {name!r}. The member columns are {', '.join(COLUMNS)}."
            )


def blank_codes(assume_blank: Mapping[str, object]) -> dict[str, int]:
    """The codes of the option `assume_blank` by column.

    Raises
    ------
    InputError
        If a column is unknown, or a value is not one of the column.
    """
    check_known("assume_blank", assume_blank)
    codes = {}
    for name, value in assume_blank.items():
        column = COLUMNS[name]
        code = column.blank_code(value)
        if code is None:
            as_cms = "" if column.blank_not_zero is None else f" or {READ_AS_CMS}"
            raise InputError(
                f"assume_blank: {value!r} is not a value of {name}. Expected {column.expects()}{as_cms}."
            )
        codes[name] = code
    return codes


# Columns of a dated diagnosis, for the `service_condition` of `codes.csv`.
ROW_COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "service_date": Column(
            "service_date", "date of the service, a whole number YYYYMMDD", low=19000101, high=21991231
        ),
        "diagnosis_age": Column("diagnosis_age", "age in completed years on the service date", high=MAX_AGE),
    }
)
