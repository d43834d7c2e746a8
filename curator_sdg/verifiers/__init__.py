"""Are two answers to one question the same? One small verifier a kind of answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from curator_sdg.identity import normalise_answer
from curator_sdg.records import AnswerFormat
from curator_sdg.verifiers.code import same_code
from curator_sdg.verifiers.number import parse_number, same_number
from curator_sdg.verifiers.text import same_text

__all__ = ["VERIFIERS", "Verifier", "parse_number", "same_code", "same_label", "same_number", "same_text"]


class Verifier(NamedTuple):
    """A named rule of equality between two answers."""

    name: str
    equal: Callable[[str, str], bool]


def same_label(a: str, b: str) -> bool:
    """Whether two options or labels are the same text but for case, spacing and punctuation at the ends."""
    return normalise_answer(a) == normalise_answer(b)


_LABEL = Verifier("label", same_label)
_NUMBER = Verifier("number", same_number)
_TEXT = Verifier("text", same_text)
_CODE = Verifier("code", same_code)

VERIFIERS: dict[AnswerFormat, Verifier] = {
    "option": _LABEL,
    "label": _LABEL,
    "boolean": _LABEL,
    "number": _NUMBER,
    "expression": _TEXT,
    "span": _TEXT,
    "text": _TEXT,
    "code": _CODE,
}
