"""Exactly so many accepted questions of each task (``run.accepted_per_task``): how far its seeds are asked about.

A task's candidates have a fixed order, that of its seeds. In each round the first so many of them are asked about;
when all of a round is settled, tasks that are short of their number get more in the next, reckoned from what share of
their seeds was accepted. It ends when every task has its number or no seeds left. Of the accepted questions the first
so many, in the same order, are packaged; the others are surplus, as are the seeds that were never asked about.

How far each task's seeds are asked about stands in ``quota.json``, is written before a round begins, and grows with
every round. Where other questions would be asked, or fewer are wanted before all rounds are done, they begin anew:
what was asked comes from the journal, and what earlier rounds would have had asked beyond that is not paid for.
"""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from curator_sdg.errors import StoreError
from curator_sdg.store import Shard, publish_file, read_columns, read_json

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
        of: What tells the questions and their answers from those of another configuration: the fingerprint of the
            last step that asks.
    """

    path: Path
    wanted: int
    per_seed: int
    of: str = ""

    def asked(self, seeds: Mapping[str, int]) -> dict[str, int]:
        """Return how many seeds of each task are asked about: as it was last written, else in a first round.

        Args:
            seeds: Seeds by task.

        Raises:
            StoreError: If the file is damaged.
        """
        written = self._written()
        return {
            task: min(n, self.enough(Standing(n, 0, 0)) if task not in written else written[task])
            for task, n in seeds.items()
        }

    def begin(self, seeds: Mapping[str, int]) -> None:
        """Write down the first round of tasks that have had none.

        Args:
            seeds: Seeds by task.
        """
        written = self._written()
        if seeds.keys() - written.keys():
            self._write({**self.asked(seeds), **written})

    def go_on(self, standings: Mapping[str, Standing]) -> dict[str, int]:
        """Write down the next round, once all of the last is settled, or that there is none.

        Returns:
            How many more seeds of each task are asked about; empty where there is no further round.
        """
        more = {
            task: min(at.seeds, at.asked + self.enough(at))
            for task, at in standings.items()
            if at.accepted < self.wanted and at.asked < at.seeds
        }
        self._write({**self._written(), **more}, done=not more)
        return {task: n - standings[task].asked for task, n in more.items()}

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

    def _written(self) -> dict[str, int]:
        """Return the seeds by task as they were last written for these questions; none where nothing was."""
        found = read_json(self.path)
        if found is None:
            return {}
        asked, wanted = (found.get("asked"), found.get("wanted")) if isinstance(found, dict) else (None, None)
        if not isinstance(asked, dict) or not all(type(n) is int and n >= 0 for n in (wanted, *asked.values())):
            raise StoreError(f"{self.path}: does not map tasks to numbers; move it away and run again")
        holds = found.get("of") == self.of and (found.get("done") or found["wanted"] <= self.wanted)
        return asked if holds else {}

    def _write(self, asked: Mapping[str, int], *, done: bool = False) -> None:
        document = {"wanted": self.wanted, "of": self.of, "done": done, "asked": asked}
        publish_file(self.path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def short_lines(short: Mapping[str, Mapping[str, int]], wanted: int) -> list[str]:
    """Return a line for each task that is short of its number, in the user's terms."""
    return [
        f"{task}: {at['accepted']:,} of {wanted:,} accepted questions; "
        + (
            "it has no seeds in this run"
            if not at["seeds"]
            else f"all of its {at['seeds']:,} seeds were asked about"
            if at["asked"] == at["seeds"]
            else f"{at['asked']:,} of its {at['seeds']:,} seeds are asked about so far"
        )
        for task, at in short.items()
    ]


def rows_by_task(shard: Shard) -> Mapping[str, int]:
    """Return how many rows of a shard each task has."""
    return _rows_by_task(shard.path, shard.content).unpacked()


class Packed(NamedTuple):
    """Small numbers by task, in a few bytes each: of hundreds of tasks in each of thousands of shards.

    Attributes:
        tasks: Their places in a list of all tasks' names.
        numbers: One for each.
    """

    tasks: array[int]
    numbers: array[int]

    @classmethod
    def of(cls, numbers: Mapping[str, int]) -> Packed:
        """Return the numbers as they are kept."""
        return cls(array("I", map(_place, numbers)), array("I", numbers.values()))

    def unpacked(self) -> dict[str, int]:
        """Return the numbers by the tasks' names."""
        return dict(zip((_NAMES[place] for place in self.tasks), self.numbers, strict=True))


_NAMES: list[str] = []  # of the tasks that were met
_PLACES: dict[str, int] = {}  # of each among these


def _place(task: str) -> int:
    if task not in _PLACES:
        _PLACES[task] = len(_NAMES)
        _NAMES.append(task)
    return _PLACES[task]


@cache
def _rows_by_task(path: Path, content: str) -> Packed:  # noqa: ARG001 - tells a shard from its successor
    (tasks,) = read_columns(path, ["task"]).columns
    return Packed.of({entry["values"]: entry["counts"] for entry in tasks.value_counts().to_pylist()})


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
