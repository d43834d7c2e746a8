"""Numbers are equal by value: 1,250.0 is 1250, 3/4 is 0.75."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}  # powers of ten
# NFKC leaves these signs and the Arabic separators as they are.
_FOLD = str.maketrans({"−": "-", "⁄": "/", "٬": ",", "٫": ".", "\\": None})
_NUMBER = re.compile(
    r"""^(?P<sign>[-+]?)\s*(?P<currency>[$€£¥₩₹]?)\s*(?P<sign2>[-+]?)
        (?: (?P<whole>\d+)\s+(?P<num>\d+)\s*/\s*(?P<den>\d+)          # 2 1/2
          | (?P<n>\d+(?:\.\d+)?)\s*/\s*(?P<d>\d+(?:\.\d+)?)           # 3/4
          | (?P<decimal>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE](?P<exp>[-+]?\d{1,3}))?
        )\s*(?P<percent>%?)\s*(?P<unit>[^\W\d_][^\d]*|°.*)?\.?$""",
    re.VERBOSE,
)


def parse_number(text: str) -> Fraction | None:
    """Return the exact value of ``text``, or null where it is not one number.

    Read are signs, thousands separators, decimals, exponents, fractions, mixed numbers, digits of any script, one
    currency sign before and one unit after the number; of units only "thousand" and its like change the value. A
    percentage keeps its figure (``25%`` is 25): questions ask for "what percentage", and both spellings answer
    them. A denominator of zero makes no number.
    """
    folded = unicodedata.normalize("NFKC", text).translate(_FOLD).strip()
    if len(folded) > 2 and folded[0] == folded[-1] == "$":  # LaTeX's mathematics mode, not money
        folded = folded[1:-1].strip()
    match = _NUMBER.match(folded)
    if match is None:
        return None
    try:
        if match["whole"]:
            value: Fraction = int(match["whole"]) + Fraction(int(match["num"]), int(match["den"]))
        elif match["n"]:
            value = Fraction(match["n"]) / Fraction(match["d"])
        else:
            value = Fraction(match["decimal"].replace(",", "")) * Fraction(10) ** int(match["exp"] or 0)
    except ZeroDivisionError:
        return None
    scale = (match["unit"] or "").split(" ")[0].casefold()
    value *= Fraction(10) ** _SCALES.get(scale, 0)
    return -value if "-" in (match["sign"], match["sign2"]) else value


def same_number(a: str, b: str) -> bool:
    """Whether two answers have the same value; what is no number is equal to nothing."""
    left = parse_number(a)
    return left is not None and left == parse_number(b)
