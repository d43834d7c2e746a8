"""Which of a question's options a text means."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from curator_sdg.identity import normalise_answer, spell_powers, trim_edges

_SPACE = re.compile(r"\s+")


def option_key(text: str) -> str:
    """Return what makes an option another option: all but width, spacing and punctuation at the ends.

    Case counts (``Aa`` is not ``aa``, ``5 mW`` not ``5 MW``), and so do powers (``10²`` is not ``102``).
    """
    return trim_edges(_SPACE.sub(" ", unicodedata.normalize("NFKC", spell_powers(text))).strip())


def same_label(a: str, b: str) -> bool:
    """Whether two options or labels are the same text but for width, spacing and punctuation at the ends."""
    return option_key(a) == option_key(b)


_FOLDS: tuple[Callable[[str], str], ...] = (option_key, normalise_answer)


def match_option(options: Sequence[str], text: str) -> int | None:
    """Return the index of the option that ``text`` means, or null where it is none or could be several.

    The very text comes first, then what :func:`option_key` finds the same, then case is let go: each only where one
    option alone fits.
    """
    stripped = text.strip()
    if not stripped:
        return None
    for i, option in enumerate(options):
        if option.strip() == stripped:
            return i
    for fold in _FOLDS:
        fits = [i for i, option in enumerate(options) if fold(option) == fold(text)]
        if fits:
            return fits[0] if len(fits) == 1 else None
    return None
