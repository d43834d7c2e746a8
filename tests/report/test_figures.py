"""Figures as people read them."""

from __future__ import annotations

import pytest

from curator_sdg.report.figures import money, short


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (0.6, "1"),
        (987, "987"),
        (999.4, "999"),
        (999.6, "1.00k"),
        (1_000, "1.00k"),
        (9_994, "9.99k"),
        (9_996, "10.0k"),
        (99_960, "100k"),
        (12_345, "12.3k"),
        (999_960, "1.00M"),
        (20_000_000, "20.0M"),
        (4.56e9, "4.56G"),
        (7e18, "7000P"),
    ],
)
def test_a_count_has_three_digits(count: float, text: str) -> None:
    assert short(count) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (0.0001234, "0.000123"), (0.99, "0.99"), (0.999, "1.00"), (1234.5, "1,234.50")]
)
def test_an_amount_has_hundredths_or_three_digits(amount: float, text: str) -> None:
    assert money(amount) == text
