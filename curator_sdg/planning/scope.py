"""How many seeds of each task a configuration comes to, as far as that is known before they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from curator_sdg.collecting import selection_of
from curator_sdg.config import Config
from curator_sdg.planning.pilot import Pilot
from curator_sdg.seeds.select import Choice, Selection


class SeedCounts(NamedTuple):
    """Seeds by task.

    Attributes:
        of: How many; not whole where a share of something is all that is known.
        unknown: Tasks of which nobody knows how many rows they have; they come on top.
        certain: Whether the seeds have been counted rather than reckoned from rows.
        failed: Tasks that the run could not load; as things are, none of their rows will be seeds.
    """

    of: dict[str, float]
    unknown: tuple[str, ...]
    certain: bool
    failed: tuple[str, ...] = ()


def count_seeds(config: Config, selection: Selection, pilot: Pilot, read: Config | None = None) -> SeedCounts:
    """Return the seeds that a configuration comes to.

    Rows of which no seed can be made and seeds that repeat others are reckoned with as the pilot had them.

    Args:
        config: The configuration that is planned.
        selection: Its tasks.
        pilot: What a run has found out.
        read: The configuration of that run; null where there is none.
    """
    same = _same_rows(config, read)
    found: dict[str, float] = {}
    unknown, failed = [], []
    counted = True
    limits = {} if read is None else _limits(read)
    for choice in selection.chosen:
        task = choice.entry.task
        if task in pilot.withheld and task not in config.seeds.release:
            continue
        if task in pilot.failed and read is not None and config.seeds.data_root == read.seeds.data_root:
            failed.append(task)
            continue
        planned, out = pilot.collected.get(task, (0, 0))
        if task in pilot.collected and (same or limits.get(task, _OTHER) == choice.limit):
            found[task] = out * _stays(pilot, task)
            continue
        counted = False
        rows = _rows(choice, planned, limits.get(task, _OTHER))
        if rows is None:
            unknown.append(task)
        else:
            found[task] = rows * (out / planned if planned else _usable(pilot)) * _stays(pilot, task)
    every = sum(found.values())
    kept = {task: float(kept) for task, (kept, _) in pilot.cut.items() if kept}
    if (limit := config.run.limit) is not None and limit < every:
        if same and read is not None and read.run.limit == limit and sum(kept.values()) == limit:
            return SeedCounts(kept, (), True, tuple(failed))
        found = {task: count * limit / every for task, count in found.items()}
    elif same and read is not None and read.run.limit is None and pilot.whole:
        return SeedCounts(kept, (), True, tuple(failed))
    return SeedCounts({task: n for task, n in found.items() if n}, tuple(unknown), counted, tuple(failed))


_OTHER = -1  # the limit of a task that a run does not have


def _same_rows(config: Config, read: Config | None) -> bool:
    """Whether a run reads just the rows that a configuration asks for."""
    return read is not None and config.seeds == read.seeds and config.run.seed == read.run.seed


def _limits(read: Config) -> Mapping[str, int | None]:
    return {choice.entry.task: choice.limit for choice in selection_of(read).chosen}


def _rows(choice: Choice, planned: int, limit: int | None) -> int | None:
    """Return how many rows of a task are read, or null where nobody knows."""
    rows = choice.entry.source.rows
    if planned and (limit is None or planned < limit):
        rows = planned  # the run has read all there are
    if rows is None:
        return None
    return rows if choice.limit is None else min(rows, choice.limit)


def _stays(pilot: Pilot, task: str) -> float:
    """Return the share of a task's seeds that are left when they are cut; one more is thought to stay."""
    kept, gone = pilot.cut.get(task, (0, 0))
    return (kept + 1) / (kept + gone + 1)


def _usable(pilot: Pilot) -> float:
    """Return the share of all rows that became seeds."""
    planned, out = (
        (sum(column) for column in zip(*pilot.collected.values(), strict=True)) if pilot.collected else (0, 0)
    )
    return out / planned if planned else 1.0
