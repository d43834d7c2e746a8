"""Which scripts put no blanks between words."""

from __future__ import annotations

import re
import unicodedata

# Thai and Lao, Myanmar, Khmer, Hiragana and Katakana, Han; Korean and Arabic are spaced.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff"
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)


def is_unspaced(text: str) -> bool:
    """Whether at least half of the letters of ``text`` are of a script that puts no blanks between words."""
    return 2 * len(UNSPACED.findall(text)) >= max(1, sum(unicodedata.category(char)[0] == "L" for char in text))


def stands_in(span: str, text: str) -> bool:
    """Whether ``span`` stands in ``text`` as whole words; in an unspaced script any place will do.

    Both are compared as they are: fold them alike before.
    """
    if not span:
        return False
    start = text.find(span)
    while start >= 0:
        end = start + len(span)
        if not (_runs_on(text[start - 1 : start], span[0]) or _runs_on(text[end : end + 1], span[-1])):
            return True
        start = text.find(span, start + 1)
    return False


def _runs_on(outer: str, inner: str) -> bool:
    """Whether two neighbouring characters belong to one word."""
    if not outer or UNSPACED.match(outer) or UNSPACED.match(inner):
        return False
    return all(unicodedata.category(char)[0] in "LMN" for char in (outer, inner))
