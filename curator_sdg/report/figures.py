"""Figures as people read them."""

from __future__ import annotations

_THOUSANDS = ("", "k", "M", "G", "T", "P")


def short(count: float) -> str:
    """Return a count to three digits, for example ``987``, ``12.3k`` or ``4.56M``."""
    size = 0
    while round(abs(count), 0 if not size else 1) >= 1000 and size < len(_THOUSANDS) - 1:
        count /= 1000
        size += 1
    if not size:
        return f"{count:.0f}"
    places = 2 if abs(count) < 9.995 else 1 if abs(count) < 99.95 else 0
    return f"{count:.{places}f}{_THOUSANDS[size]}"


def money(amount: float) -> str:
    """Return an amount to the hundredth, or below 1 to three digits."""
    return f"{amount:,.2f}" if amount >= 0.995 else f"{amount:.3g}"
