"""How much of one text stands in another, by word n-grams."""

from __future__ import annotations

import re

from curator_sdg.identity import ngrams, normalise
from curator_sdg.verifiers.scripts import is_unspaced

_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")


def shingles(text: str, n: int = 3) -> set[tuple[str, ...]]:
    """Return the word ``n``-grams of ``text``; numbers count as one and the same word.

    A text with other numbers thus has the same shingles. Where the script puts no blanks between words (Han, kana,
    Thai, Lao, Khmer, Myanmar), characters take their place (``2 n`` of them, for a word has about two).
    """
    tokens = _WORD.findall(_DIGITS.sub(" 0 ", normalise(text)))
    if is_unspaced(text):
        return set(ngrams("".join(tokens), 2 * n))
    return set(ngrams(tokens, n))


def containment(text: str, other: str, n: int = 3) -> float:
    """Return the share of the shingles of ``text`` that ``other`` holds too, 0 to 1."""
    own = shingles(text, n)
    return len(own & shingles(other, n)) / len(own) if own else 0.0
