"""Exactly so many accepted questions of each task (``run.accepted_per_task``): how far its seeds are asked about.

A task's candidates have a fixed order, that of its seeds. In each round the first so many of them are asked about;
when all of a round is settled, tasks that are short of their number get more in the next, reckoned from what share of
their seeds was accepted. It ends when every task has its number or no seeds left. Of the accepted questions the first
so many, in the same order, are packaged; the others are surplus, as are the seeds that were never asked about.

How far each task's seeds are asked about stands in ``quota.json``, is written before a round begins, and only grows.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from curator_sdg.errors import StoreError
from curator_sdg.store import Shard, publish_file, read_json, read_rows

# Accepted questions for each one asked, before any were: as if _PRIOR_WEIGHT had been, of which so many were accepted.
_PRIOR_YIELD = 0.7
_PRIOR_WEIGHT = 10
_SIGMAS = 1.3  # one round is enough nine times out of ten
_GROWTH = 4  # times as many as before, at most: a poor yield after few seeds may be bad luck


class Standing(NamedTuple):
    """Where one task is: seeds there are, seeds asked about, and questions accepted of these."""

    seeds: int
    asked: int
    accepted: int


@dataclass(frozen=True)
class Quota:
    """How many of each task's seeds, the first in order, are asked about.

    Attributes:
        path: ``quota.json`` of the run.
        wanted: Questions of each task.
        per_seed: Questions that are asked for after each seed.
    """

    path: Path
    wanted: int
    per_seed: int

    def asked(self) -> dict[str, int]:
        """Return the number of seeds by task, as it was last written; none before the first round.

        Raises:
            StoreError: If the file is damaged.
        """
        found = read_json(self.path)
        asked = {} if found is None else found.get("asked") if isinstance(found, dict) else None
        if not isinstance(asked, dict) or not all(type(n) is int and n >= 0 for n in asked.values()):
            raise StoreError(f"{self.path}: does not map tasks to numbers; move it away and run again")
        return asked

    def begin(self, seeds: Mapping[str, int]) -> None:
        """Write down the first round of tasks that have had none.

        Args:
            seeds: Seeds by task.
        """
        asked = self.asked()
        if new := {task: n for task, n in seeds.items() if task not in asked}:
            first = {task: min(n, self.enough(Standing(n, 0, 0))) for task, n in new.items()}
            self._write({**asked, **first})

    def go_on(self, standings: Mapping[str, Standing]) -> bool:
        """Write down the next round, once all of the last is settled; returns whether there is one."""
        asked = self.asked()
        more = {
            task: min(at.seeds, at.asked + self.enough(at))
            for task, at in standings.items()
            if at.accepted < self.wanted and at.asked < at.seeds
        }
        if more:
            self._write({**asked, **more})
        return bool(more)

    def enough(self, at: Standing) -> int:
        """Return how many further seeds will most likely give what is still wanted.

        That is the least ``n`` for which ``n * y - 1.3 * sqrt(n * y * (1 - y)) >= wanted - accepted``, where ``y`` is
        the share of questions that were accepted so far, drawn towards 0.7 while there are few: the lower end of a
        binomial count, in the normal approximation. A seed counts as ``per_seed`` questions.
        """
        questions = at.asked * self.per_seed
        share = (at.accepted + _PRIOR_YIELD * _PRIOR_WEIGHT) / (questions + _PRIOR_WEIGHT)
        share = min(share, 1.0)
        spread = _SIGMAS * math.sqrt(share * (1 - share))
        # n * y - s * sqrt(n) - need = 0 is a quadratic in sqrt(n).
        root = (spread + math.sqrt(spread**2 + 4 * share * (self.wanted - at.accepted))) / (2 * share)
        seeds = math.ceil(root**2 / self.per_seed)
        return max(1, min(seeds, (_GROWTH - 1) * at.asked) if at.asked else seeds)

    def _write(self, asked: Mapping[str, int]) -> None:
        publish_file(
            self.path, json.dumps({"wanted": self.wanted, "asked": asked}, indent=2, ensure_ascii=False) + "\n"
        )


def short_lines(short: Mapping[str, Mapping[str, int]], wanted: int) -> list[str]:
    """Return a line for each task that is short of its number, in the user's terms."""
    return [
        f"{task}: {at['accepted']:,} of {wanted:,} accepted questions; "
        + (
            f"all of its {at['seeds']:,} seeds were asked about"
            if at["asked"] == at["seeds"]
            else f"{at['asked']:,} of its {at['seeds']:,} seeds are asked about so far"
        )
        for task, at in short.items()
    ]


def rows_by_task(shard: Shard) -> Mapping[str, int]:
    """Return how many rows of a shard each task has."""
    return _rows_by_task(shard.path, shard.content)


@cache
def _rows_by_task(path: Path, content: str) -> Mapping[str, int]:  # noqa: ARG001 - tells a shard from its successor
    (tasks,) = read_rows(path, columns=["task"]).columns
    counts = tasks.value_counts().to_pylist()
    return {sys.intern(entry["values"]): entry["counts"] for entry in counts}  # the same few names in all shards


def rows_in_all(shards: Iterable[Shard]) -> Counter[str]:
    """Return how many rows each task has in all of these shards."""
    counts: Counter[str] = Counter()
    for shard in shards:
        counts.update(rows_by_task(shard))
    return counts


def first_rows(shards: Iterable[Mapping[str, int]], allowed: Mapping[str, int] | int) -> Iterator[dict[str, int]]:
    """Yield for each shard, in order, the tasks of which not all rows are taken, and how many are.

    Args:
        shards: Rows by task.
        allowed: How many rows of each task are taken, or of every task.
    """
    used: Counter[str] = Counter()
    for rows in shards:
        taken = {}
        for task, count in rows.items():
            left = max(0, (allowed if isinstance(allowed, int) else allowed.get(task, 0)) - used[task])
            if count > left:
                taken[task] = left
            used[task] += count
        yield taken
