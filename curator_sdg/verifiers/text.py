"""Short answers are equal by their words."""

from __future__ import annotations

import re

from curator_sdg.identity import normalise_answer
from curator_sdg.verifiers.number import parse_number

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = re.compile(r"[^\w\s%$€£.+/-]|[./-](?!\d)")
_SPACE = re.compile(r"\s+")


def fold(text: str) -> str:
    """Return the words of a short answer: no case, articles or punctuation.

    SQuAD's normalisation (Rajpurkar et al. 2016), but aware of scripts and with what belongs to a number kept:
    signs, decimal points and slashes before a digit.
    """
    bare = _ARTICLES.sub(" ", _PUNCTUATION.sub(" ", normalise_answer(text)))
    return _SPACE.sub(" ", bare).strip()


def same_text(a: str, b: str) -> bool:
    """Whether two short answers are the same words, or the same number."""
    left, right = fold(a), fold(b)
    if left and left == right:
        return True
    value = parse_number(a)
    return value is not None and value == parse_number(b)
