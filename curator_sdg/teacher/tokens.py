"""How many tokens a text comes to, where no tokenizer is at hand."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from curator_sdg.teacher.base import Message

_ASCII_PER_TOKEN = 4
_OVERHEAD = 8  # what a chat template puts around a message


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text is: one for four ASCII characters, one for any other character.

    Byte-level BPE vocabularies of 100,000 entries and more take 4 to 4.5 characters of English prose for a token, some
    3 of code, and between half a token and one for a character of most other scripts.
    """
    if text.isascii():
        return math.ceil(len(text) / _ASCII_PER_TOKEN)
    ascii_characters = len(text.encode("ascii", "ignore"))
    return math.ceil(ascii_characters / _ASCII_PER_TOKEN) + len(text) - ascii_characters


def estimate_messages(messages: Iterable[Message]) -> int:
    """Return about how many tokens a prompt is; of content that has parts, the texts alone count."""
    return sum(estimate_tokens(_text(message["content"])) + _OVERHEAD for message in messages)


def _text(content: Any) -> str:
    """Return the text of a message, which in chats of others may be a list of parts, or null."""
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part, dict) and "text" in part)
    return content or ""
