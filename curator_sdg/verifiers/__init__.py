"""Are two answers to one question the same? One small verifier a kind of answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from curator_sdg.records import AnswerFormat
from curator_sdg.verifiers.code import bare_code, parse_code, same_code
from curator_sdg.verifiers.number import parse_number, same_number
from curator_sdg.verifiers.options import match_option, option_key, same_label
from curator_sdg.verifiers.text import same_text
from curator_sdg.verifiers.usable import usable

__all__ = [
    "VERIFIERS",
    "Verifier",
    "bare_code",
    "match_option",
    "option_key",
    "parse_code",
    "parse_number",
    "same_code",
    "same_label",
    "same_number",
    "same_text",
    "usable",
]


class Verifier(NamedTuple):
    """A named rule of equality between two answers."""

    name: str
    equal: Callable[[str, str], bool]


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
