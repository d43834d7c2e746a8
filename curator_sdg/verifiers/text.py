"""Short answers are equal by their words."""

from __future__ import annotations

import re
import unicodedata

from curator_sdg.identity import normalise_answer
from curator_sdg.verifiers.number import read_number

_ARTICLE = re.compile(r"^(?:a|an|the)\s+(?=\w)")
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014−", "-"))
_SPACE = re.compile(r"\s+")
_MATHS = re.compile(r"[+*/^=<>|√\\]|(?<!\w)-|\d-")
_ALWAYS_KEPT = frozenset("#%&*/@_")  # C#, x*y, x/y; symbols like + < = are no punctuation to Unicode anyhow
_BLANKS_AT_OPERATOR = re.compile(r"\s*([+*/^=<>-])\s*")
_WORD_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})")  # Mary-Jane, but not x-y
# Points and colons within a number, a factorial.
_IN_NUMBER = re.compile(r"\.(?=\d)|(?<=\d):(?=\d)|(?<=\d)!")
_BRACKETED = re.compile(r"[(\[{]([^()\[\]{}]*)[)\]}]")
_WORD = re.compile(r"[^\W\d_]{2}")


def fold(text: str) -> str:
    """Return the words of a short answer: no case, leading article or punctuation.

    After SQuAD's normalisation (Rajpurkar et al. 2016), but for all scripts, and with what makes another answer kept:
    signs, operators and all that belongs to a number, the brackets of formulas, articles within ("Hepatitis A"). A
    text that would fold to nothing stays as it is.
    """
    whole = normalise_answer(text).translate(_DASHES)
    if len(whole) > 2 and whole[0] == whole[-1] == "$":
        whole = whole[1:-1].strip()
    bare = _ARTICLE.sub("", whole)
    if not _MATHS.search(bare):
        bare = _BRACKETED.sub(lambda found: f" {found[1]} " if _WORD.search(found[1]) else found[0], bare)
    bare = _WORD_HYPHEN.sub(" ", _BLANKS_AT_OPERATOR.sub(r"\1", bare))
    kept = {found.start() for found in _IN_NUMBER.finditer(bare)}
    bare = "".join(char if i in kept or _distinguishes(char) else " " for i, char in enumerate(bare))
    return _SPACE.sub(" ", bare).strip() or whole


def _distinguishes(char: str) -> bool:
    category = unicodedata.category(char)
    return char in _ALWAYS_KEPT or category in ("Pd", "Ps", "Pe") or (category[0] != "P" and char != "`")


def same_text(a: str, b: str) -> bool:
    """Whether two short answers are the same words, or the same number of the same unit."""
    if fold(a) == fold(b):
        return True
    number = read_number(a)
    return number is not None and number == read_number(b)
