"""Numbers are equal by value: 1,250.0 is 1250, 3/4 is 0.75."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

from curator_sdg.identity import spell_powers

_LONGEST = 400  # characters; what is longer is no answer, and Python refuses to read it beyond 4,300 digits
_SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_GLUED_SCALES = {"万": 10**4, "萬": 10**4, "만": 10**4, "億": 10**8, "亿": 10**8, "억": 10**8}
_CURRENCIES = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "₩": "won", "₹": "rupee"}
# NFKC leaves these signs and the Arabic separators as they are.
_FOLD = str.maketrans({"−": "-", "\u2013": "-", "⁄": "/", "٬": ",", "٫": ".", "\\": None})
_NUMBER = re.compile(
    r"""^(?P<sign>[-+]?)\s*(?:(?P<currency>[$€£¥₩₹])\s*(?P<sign2>[-+]?))?\s*
        (?: (?P<whole>\d+)\s+(?P<num>\d+)\s*/\s*(?P<den>\d+)          # 2 1/2
          | (?P<n>\d+(?:\.\d+)?)\s*/\s*(?P<d>\d+(?:\.\d+)?)           # 3/4
          | (?P<decimal>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE](?P<exp>[-+]?\d{1,3}))?
        )(?![\d,]*\d)(?P<gap>\s*)(?P<tail>.*?)\.?$""",
    re.VERBOSE,
)

# Latin and Greek letters straight after a figure are algebra (2x, 2π) or a short form (5k), unless they are one of
# these. A single letter has to be one of them even after a blank.
_UNITS = frozenset(
    re.findall(
        r"\S+",
        """m km cm mm nm μm um dm ft in yd mi ha px  g kg mg μg t lb lbs oz  s ms h hr hrs min
        l L ml mL dl dL cl cL kl  A mA V kV mV W kW MW GW mW kWh Wh J kJ MJ N kN Pa hPa kPa MPa Hz kHz MHz GHz
        Ω kΩ MΩ ohm ohms mol mmol kmol cal kcal Cal eV keV MeV  mph kph kmh rpm ppm dB
        B kB KB MB GB TB bit  USD EUR GBP""",
    )
)
# What may follow a figure without being its unit: 5 am is not 5 pm.
_NO_UNITS = frozenset(
    {"and", "or", "to", "plus", "minus", "times", "over", "point", "pi", "by", "squared", "cubed", "factorial"}
    | {"am", "pm", "bc", "bce"}
)
_LINKS = re.compile(r"[/·*-]")
_POWER = re.compile(r"\^-?\d")


class Number(NamedTuple):
    """A number in an answer: its exact value and its folded unit (``""`` without one)."""

    value: Fraction
    unit: str


def parse_number(text: str) -> Fraction | None:
    """Return the exact value of ``text``, or null where it is not one number; see :func:`read_number`."""
    number = read_number(text)
    return None if number is None else number.value


def read_number(text: str) -> Number | None:
    """Return the number that ``text`` is, or null where it is not one number.

    Read are signs, thousands separators, decimals, exponents, fractions, mixed numbers, digits of any script, one
    currency sign before and one unit after the number: at most two words, and one after "per". Of them only
    "thousand" and its like change the value. A percentage keeps its figure (``25%`` is 25): questions ask for "what
    percentage", and both spellings answer them. A denominator of zero makes no number, nor does a power (``10²``),
    nor a letter at the figure that is no known unit (``2x``, ``5k``).
    """
    if len(text) > _LONGEST:
        return None
    folded = unicodedata.normalize("NFKC", spell_powers(text)).translate(_FOLD).strip()
    if len(folded) > 2 and folded[0] == folded[-1] == "$":  # LaTeX's mathematics mode, not money
        folded = folded[1:-1].strip()
    match = _NUMBER.match(folded)
    if match is None or len(folded) > _LONGEST or (match["sign"] and match["sign2"]):
        return None
    tail = _read_tail(match["tail"], glued=not match["gap"])
    if tail is None:
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
    scale, unit = tail
    value *= scale
    if "-" in (match["sign"], match["sign2"]):
        value = -value
    return Number(value, unit or _CURRENCIES.get(match["currency"], ""))


def same_number(a: str, b: str) -> bool:
    """Whether two answers have the same value; what is no number is equal to nothing."""
    left = parse_number(a)
    return left is not None and left == parse_number(b)


def _read_tail(tail: str, *, glued: bool) -> tuple[int, str] | None:
    """Return the scale and the folded unit that follow a figure, or null where it is something else."""
    scale = 1
    while tail and tail[0] in _GLUED_SCALES:
        scale *= _GLUED_SCALES[tail[0]]
        tail = tail[1:]
    if tail.startswith("%"):
        rest = tail[1:].split()
        return (scale, "%") if len(rest) <= 2 and all(_is_unit(word, glued=False) for word in rest) else None
    words = tail.replace("° ", "°").split()
    if words and not _is_unit(words[0], glued=glued):
        return None
    while words and words[0].casefold() in _SCALES:
        scale *= _SCALES[words.pop(0).casefold()]
    plain = words[:-2] if len(words) > 2 and words[-2].casefold() == "per" else words
    if len(plain) > 2 or not all(_is_unit(word, glued=False) for word in words[1:]):
        return None
    if words and words[0].casefold() in _NO_UNITS:
        return None
    return scale, _fold_unit(words)


def _is_unit(word: str, *, glued: bool) -> bool:
    """Whether a word looks like a unit: m, km/h, °C, cm^2, foot-pounds, €, किमी, dollars."""
    if word in _CURRENCIES or word.startswith("°"):
        return word.removeprefix("°") in ("", "C", "F", "K") or word in _CURRENCIES
    parts = _LINKS.split(_POWER.sub("", word))
    if not all(part and all(unicodedata.category(char)[0] in "LM" for char in part) for part in parts):
        return False
    algebraic = unicodedata.name(parts[0][0], "").startswith(("LATIN", "GREEK"))
    return not algebraic or all(part in _UNITS or (len(part) > 1 and not glued) for part in parts)


def _fold_unit(words: list[str]) -> str:
    unit = " ".join(words).casefold()
    if unit in ("percent", "per cent"):
        return "%"
    unit = _CURRENCIES.get(unit, unit)
    return unit[:-1] if len(unit) > 3 and unit.endswith("s") else unit
