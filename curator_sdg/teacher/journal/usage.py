"""What a run has asked of its teacher, and what that costs: counted from the journal, over all starts.

Every line of the journal was paid for, also where a key is there twice. Figures are kept by model, as prices are. So
that not every start reads all replies, the figures of a shard's sealed segments, which never change, stand in
``usage.json`` beside them. It is a cache: what it lacks is counted from the segments.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from curator_sdg.config import Price
from curator_sdg.errors import StoreError
from curator_sdg.store import publish_file
from curator_sdg.teacher.base import Completion, Outcome, Refusal
from curator_sdg.teacher.journal.segment import SEALED, read_whole, segments

FILE = "usage.json"
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Usage:
    """Requests that were answered, and their tokens as the endpoint counts them.

    Attributes:
        replies: Completions.
        refusals: Requests that the server would not take; they cost nothing.
        prompt_tokens: Of all replies.
        cached_tokens: Of these, read from the prefix cache.
        completion_tokens: Of all replies.
        uncounted: Replies whose endpoint sent no token counts: what they have used is not known.
    """

    replies: int = 0
    refusals: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """Return what one outcome has used; of a failure nothing is known."""
        if isinstance(outcome, Refusal):
            return cls(refusals=1)
        if not isinstance(outcome, Completion):
            return cls()
        prompt, completion = outcome.prompt_tokens, outcome.completion_tokens
        uncounted = prompt is None or completion is None
        return cls(1, 0, prompt or 0, outcome.cached_tokens or 0, completion or 0, int(uncounted))

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.replies + other.replies,
            self.refusals + other.refusals,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.uncounted + other.uncounted,
        )

    @property
    def tokens(self) -> int:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens

    def cost(self, price: Price | None) -> float | None:
        """Return the cost in the currency of ``price``; null where the price or any token count is not known."""
        if price is None or self.uncounted:
            return None
        cached = min(self.cached_tokens, self.prompt_tokens)
        cached_price = price.prompt if price.cached is None else price.cached
        millionths = (
            (self.prompt_tokens - cached) * price.prompt
            + cached * cached_price
            + self.completion_tokens * price.completion
        )
        return millionths / 1e6

    def forecast(self, more: int) -> Usage:
        """Return what it will be after so many further replies of average size; the same while there is no average."""
        if not self.replies:
            return self
        replies = self.replies + more
        prompt, cached, completion = (
            n * replies // self.replies for n in (self.prompt_tokens, self.cached_tokens, self.completion_tokens)
        )
        return Usage(replies, self.refusals, prompt, cached, completion, self.uncounted)


def total(used: Mapping[str, Usage]) -> Usage:
    """Return the sum over models."""
    return sum(used.values(), Usage())


def add_up(parts: Iterable[Mapping[str, Usage]]) -> dict[str, Usage]:
    """Return the sums by model."""
    sums: defaultdict[str, Usage] = defaultdict(Usage)
    for part in parts:
        for model, used in part.items():
            sums[model] += used
    return dict(sums)


def cost_of(used: Mapping[str, Usage], prices: Mapping[str, Price | None]) -> float | None:
    """Return what several models cost together; null as soon as one that has replied has no price or no counts.

    Args:
        used: By model.
        prices: By model.
    """
    costs = [usage.cost(prices.get(model)) for model, usage in used.items() if usage.replies]
    known = [cost for cost in costs if cost is not None]
    return sum(known, 0.0) if len(known) == len(costs) else None


def journal_usage(root: Path) -> dict[str, dict[str, Usage]]:
    """Return by step, and in it by model, what everything in the journal ``root`` has used.

    Raises:
        StoreError: If a segment that must be counted is damaged or cannot be read.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:  # a run has 20,000 shards, and a network file system is slow
        return {step.name: add_up(threads.map(shard_usage, _folders(step))) for step in _folders(root)}


def shard_usage(folder: Path) -> dict[str, Usage]:
    """Return what the segments of one shard have used, by model.

    Raises:
        StoreError: If a segment that must be counted is damaged or cannot be read.
    """
    return add_up(segment_usage(folder).values())


def segment_usage(folder: Path) -> dict[str, dict[str, Usage]]:
    """Return what each segment of a shard has used, by name and model; keep those of sealed ones if possible.

    Raises:
        StoreError: If a segment that must be counted is damaged or cannot be read.
    """
    paths = segments(folder)
    kept = _read(folder) if any(path.name.endswith(SEALED) for path in paths) else {}
    counted = {path.name: kept[path.name] if path.name in kept else _count(path) for path in paths}
    sealed = {name: used for name, used in counted.items() if name.endswith(SEALED)}
    if sealed != kept:
        text = json.dumps({name: {m: asdict(u) for m, u in used.items()} for name, used in sealed.items()})
        # A run that may be read but not written is counted anew each time.
        with contextlib.suppress(StoreError):
            publish_file(folder / FILE, text + "\n")
    return counted


def _count(path: Path) -> dict[str, Usage]:
    return add_up({entry.asked: Usage.of(entry.reply)} for entry in read_whole(path))


def _read(folder: Path) -> dict[str, dict[str, Usage]]:
    """Return what ``usage.json`` holds, without what makes no sense."""
    try:
        entries = json.loads((folder / FILE).read_bytes())
        return {
            name: {model: Usage(**figures) for model, figures in used.items()}
            for name, used in entries.items()
            if isinstance(used, dict) and all(map(_sound, used.values()))
        }
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _sound(entry: Any) -> bool:
    names = {field.name for field in fields(Usage)}
    return isinstance(entry, dict) and entry.keys() == names and all(type(n) is int and n >= 0 for n in entry.values())


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return sorted(root / entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"{root}: cannot be read ({error.strerror})") from error
