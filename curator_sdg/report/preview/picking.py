"""A few seeds to look at: those that a run asks about first, without collecting all of its tasks."""

from __future__ import annotations

import difflib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import pyarrow.compute as pc

from curator_sdg.collecting import selection_of, task_states
from curator_sdg.config import Config
from curator_sdg.current import Current
from curator_sdg.errors import ConfigError, SourceError
from curator_sdg.identity import seeded_index, seeded_permutation
from curator_sdg.records import SEED, Record, to_records
from curator_sdg.rundir import RunDir
from curator_sdg.seeds.adapters import Unusable
from curator_sdg.seeds.collect import sample
from curator_sdg.seeds.files import Part, SourceRow, split_parts
from curator_sdg.seeds.normalise import Normaliser
from curator_sdg.seeds.repeats import task_of
from curator_sdg.seeds.select import Choice, Selection, catalog_of
from curator_sdg.seeds.sources import read_rows, source_state, split_file
from curator_sdg.seeds.splits import SplitPolicy
from curator_sdg.steps import dependencies, fingerprints
from curator_sdg.store import Shard, read_json
from curator_sdg.store import read_rows as read_shard_rows

_TASKS = 16  # whose splits are opened, of however many a configuration has


class Picked(NamedTuple):
    """Seeds to look at.

    Attributes:
        seeds: Records of the schema ``SEED``, in hash order.
        told: Where they are from, and what was passed over, a line each.
    """

    seeds: list[Record]
    told: list[str]


def pick_seeds(config: Config, n: int, task: str | None = None) -> Picked:
    """Return the first ``n`` seeds in hash order, of all tasks or of one.

    They are those of the run's own directory where it has current ones. Otherwise rows are read for the purpose: of
    at most 16 tasks, drawn by hash among those whose data is at hand, and of a split in several parts only one part.

    Raises:
        ConfigError: If the configuration has no such task.
        SourceError: If no row can be made a seed.
    """
    selection = selection_of(config)
    if task is not None:
        _check_task(task, selection)
    return _of_run(config, selection, n, task) or _of_sources(config, selection, n, task)


def _check_task(task: str, selection: Selection) -> None:
    names = [choice.entry.task for choice in selection.chosen]
    if task in names:
        return
    if why := selection.left_out.get(task):
        raise ConfigError(f"--task {task}: is left out: {why}")
    near = difflib.get_close_matches(task, names, n=1, cutoff=0.6)
    known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    hint = f"did you mean {near[0]!r}?" if near else f"it has {known}"
    raise ConfigError(f"--task {task}: seeds.tasks has no such task; {hint}")


# ---- from the run's directory ------------------------------------------------------------------------------------


def _of_run(config: Config, selection: Selection, n: int, task: str | None) -> Picked | None:
    """Return seeds that were collected and cut, or null where these are not what the configuration asks for now."""
    run = RunDir(config.run.dir.absolute())
    current = Current(run, config, fingerprints(dependencies(config)))
    cut = current.shards("seeds")
    if not cut:
        return None
    collected, failed = current.shards("collect"), read_json(run.failed_tasks) or {}
    for name, state in task_states(config, selection).items():
        shard = collected.get(name)
        if (
            task in (None, task_of(name))
            and task_of(name) not in failed
            and (shard is None or shard.upstream != state)
        ):
            return None
    seeds: list[Record] = []
    for shard in cut.values():
        seeds += _rows(shard, task, n - len(seeds))
        if len(seeds) == n:
            break
    if not seeds:
        return None
    whose = f" of {task}" if task else ""
    return Picked(seeds, [f"seeds: {_first(seeds)}{whose} in hash order of those in {run.path}"])


def _rows(shard: Shard, task: str | None, n: int) -> list[Record]:
    if task is None:
        return to_records(read_shard_rows(shard.path).slice(0, n), SEED)
    wanted = pc.equal(read_shard_rows(shard.path, columns=["task"])["task"], task)
    if not pc.any(wanted).as_py():
        return []
    return to_records(read_shard_rows(shard.path).filter(wanted).slice(0, n), SEED)


# ---- from the sources --------------------------------------------------------------------------------------------


class _Candidate(NamedTuple):
    """A row that may become a seed."""

    seed_id: str
    row: SourceRow
    normaliser: Normaliser


@dataclass
class _Reader:
    """Opens splits, and remembers what is to be told of that."""

    config: Config
    policy: SplitPolicy
    parts: dict[str, int] = field(default_factory=dict)  # of the splits of which only one was read
    failed: dict[str, str] = field(default_factory=dict)

    def candidates(self, choice: Choice) -> list[_Candidate]:
        """Return the rows of a task's split, or of a part of it, by rising id; none where it cannot be read."""
        entry, seeds = choice.entry, self.config.seeds
        try:
            part = self._part(choice)
            rows = read_rows(entry.source, seeds.data_root, self.policy, cache=seeds.cache_dir, part=part)
            normaliser = Normaliser(entry)
            chosen = sample(entry, rows, choice.limit, self.config.run.seed)
            found = [_Candidate(normaliser.seed_id(row.text), row, normaliser) for row in chosen]
        except SourceError as error:
            self.failed[entry.task] = str(error)
            return []
        return sorted(found, key=itemgetter(0))

    def _part(self, choice: Choice) -> Part | None:
        source, seeds = choice.entry.source, self.config.seeds
        self.policy.check(*source.triple, source.data_files)  # before anything is opened
        parts = split_parts(split_file(source, seeds.data_root, seeds.cache_dir))
        if len(parts) == 1:
            return None
        self.parts[choice.entry.task] = len(parts)
        return parts[seeded_index(len(parts), self.config.run.seed, "preview", choice.entry.task)]


def _of_sources(config: Config, selection: Selection, n: int, task: str | None) -> Picked:
    choices = [choice for choice in selection.chosen if task in (None, choice.entry.task)]
    opened = _drawn(config, choices, n)
    reader = _Reader(config, SplitPolicy(catalog_of(config.seeds).triples))
    rejected: Counter[str] = Counter()
    candidates = heapq.merge(*(reader.candidates(choice) for choice in opened), key=itemgetter(0))
    seeds = _seeds(candidates, n, rejected)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejected.most_common())
    if not seeds:
        lines = [f"{name}: {error}" for name, error in reader.failed.items()]
        lines += [f"all {rejected.total():,} rows that were read are rejects ({reasons})"] if rejected else []
        names = ", ".join(choice.entry.task for choice in opened)
        raise SourceError("\n".join(lines) or f"{names}: no split of these has any row")
    return Picked(seeds, list(_told(seeds, choices, opened, reader, reasons)))


def _drawn(config: Config, choices: Sequence[Choice], n: int) -> list[Choice]:
    """Return the tasks whose splits are opened, in the configuration's order: to fetch many takes long."""
    seeds, order = config.seeds, seeded_permutation(len(choices), config.run.seed, "preview")
    there = [at for at in order if source_state(choices[at].entry.source, seeds.data_root, seeds.cache_dir)]
    return [choices[at] for at in sorted(there[:_TASKS] or order[: min(n, _TASKS)])]


def _seeds(candidates: Iterable[_Candidate], n: int, rejected: Counter[str]) -> list[Record]:
    """Normalise candidates until there are ``n`` seeds; a row that two tasks read is that of the first."""
    seeds: list[Record] = []
    last = ""
    for seed_id, row, normaliser in candidates:
        if len(seeds) == n:
            break
        if seed_id == last:
            continue
        last = seed_id
        try:
            seeds.append(normaliser.seed(row, seed_id))
        except Unusable as verdict:
            rejected[verdict.reason] += 1
    return seeds


def _told(
    seeds: Sequence[Record], choices: Sequence[Choice], opened: Sequence[Choice], reader: _Reader, reasons: str
) -> Iterator[str]:
    of = f"{opened[0].entry.task}" if len(opened) == 1 else f"{len(opened)} tasks"
    drawn = f", drawn from {len(choices)}; --task names one" if len(opened) < len(choices) else ""
    yield f"seeds: {_first(seeds)} in hash order of the rows of {of}{drawn}"
    if reader.parts:
        parts = ", ".join(f"{task} (1 of {n})" for task, n in reader.parts.items())
        yield f"only a part was read of the splits of {parts}; the run's first seeds may be others"
    if reasons:
        yield f"passed over, as they make no seeds: {reasons}"
    for task, error in reader.failed.items():
        yield f"{task}: no seeds: {error}"


def _first(seeds: Sequence[Record]) -> str:
    return "the first" if len(seeds) == 1 else f"the first {len(seeds)}"
