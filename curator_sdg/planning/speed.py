"""How fast a teacher writes: completion tokens a second, from the times that the journal notes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from curator_sdg.errors import StoreError
from curator_sdg.teacher.base import Completion
from curator_sdg.teacher.journal.segment import read_whole, segments
from curator_sdg.teacher.journal.usage import segment_usage, total

_READ = 400  # segments that are read reply by reply; of more the figures of each segment and when it was sealed do
_AT_ONCE = 16
_IDLE_S = 60.0


class Written(NamedTuple):
    """Some completion tokens, when they were there, in seconds since 1970, and in how many replies."""

    time: float
    tokens: int
    replies: int = 1


class Speed(NamedTuple):
    """How fast it was.

    Attributes:
        tokens_per_s: Completion tokens a second.
        replies: As many as that was measured on.
    """

    tokens_per_s: float
    replies: int


def measured(journal: Path) -> Speed | None:
    """Return the speed of the start of a run that wrote most; null where that cannot be told.

    Raises:
        StoreError: If a segment is damaged or cannot be read.
    """
    folders = [shard for step in _folders(journal) for shard in _folders(step)]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = [path for paths in threads.map(segments, folders) for path in paths]
        read = _replies if len(found) <= _READ else _sums
        places = found if read is _replies else folders
        starts: defaultdict[str, list[Written]] = defaultdict(list)
        for several in threads.map(read, places):
            for start, written in several:
                starts[start].append(written)
    most = max(starts.values(), key=lambda start: sum(one.tokens for one in start), default=[])
    return speed_of(most)


def speed_of(written: Sequence[Written]) -> Speed | None:
    """Return the speed between the first and the last tenth of replies; null where these are at one moment.

    Ramping up and running dry at the ends say little of the time between. So do gaps in which nothing came: those of
    more than a minute and twenty times the mean are left out.
    """
    rows = sorted(written)
    tenth = len(rows) // 10
    rows = rows[tenth : len(rows) - tenth]
    gaps = [later.time - before.time for before, later in pairwise(rows)]
    idle = max(_IDLE_S, 20 * sum(gaps) / max(len(gaps), 1))
    seconds = sum(gap for gap in gaps if gap <= idle)
    tokens = sum(row.tokens for row, gap in zip(rows[1:], gaps, strict=True) if gap <= idle)
    return Speed(tokens / seconds, sum(row.replies for row in rows)) if seconds > 0 and tokens else None


def _replies(path: Path) -> list[tuple[str, Written]]:
    return [
        (_start(path), Written(entry.time, entry.reply.completion_tokens or 0))
        for entry in read_whole(path)
        if isinstance(entry.reply, Completion) and entry.time is not None
    ]


def _sums(folder: Path) -> list[tuple[str, Written]]:
    found = []
    for name, by_model in segment_usage(folder).items():
        used = total(by_model)
        try:
            sealed = (folder / name).stat().st_mtime
        except OSError as error:
            raise StoreError(f"{folder / name}: cannot be read ({error.strerror})") from error
        found.append((_start(folder / name), Written(sealed, used.completion_tokens, used.replies)))
    return found


def _start(path: Path) -> str:
    """Return the number of the start that wrote a segment."""
    return path.name.partition("-")[0]


def _folders(root: Path) -> Iterable[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
