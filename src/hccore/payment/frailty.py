"""The organization's frailty score as the user gives it."""

from __future__ import annotations

from decimal import Decimal

_MAX_FRAILTY = 5_000


def frailty_thousandths(value: object) -> int | None:
    """A frailty score in thousandths; None if it is out of range or has more than three decimals.

    Raises
    ------
    decimal.InvalidOperation
        If it is no number.
    """
    number = Decimal(str(value).strip()) * 1000
    if not number.is_finite() or number != int(number) or abs(number) > _MAX_FRAILTY:
        return None
    return int(number)
