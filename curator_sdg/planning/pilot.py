"""What a run has on its seeds so far: read from columns of its shards, seed by seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa

from curator_sdg.config import Asking, Config, Price
from curator_sdg.costs import Tariff
from curator_sdg.current import Current
from curator_sdg.planning.moments import Moments, Vector
from curator_sdg.quota import rows_by_task
from curator_sdg.rundir import RunDir, run_document
from curator_sdg.seeds.repeats import task_of
from curator_sdg.store import REJECTS, ROWS, Shard, read_columns, read_json

FIGURES = ("requests", "prompt", "cached", "completion", "accepted", "cost")
_MOST = 1_000  # shards that are read: half a million seeds tell as much as all of them
_AT_ONCE = 16
_TOKENS = ("requests", "prompt", "cached", "completion")
_STEPS = ("generate", "dedup", "enrich", "curate")


@dataclass
class Pilot:
    """What is known of some seeds of a run.

    Attributes:
        moments: Of ``FIGURES``, by task.
        collected: Rows read and seeds made of them, by task.
        cut: Seeds that stayed and that went when they were cut, by task.
        whole: Whether all seeds there are have been cut.
        withheld: Tasks of which no seed is used.
        failed: Tasks whose rows could not be loaded.
        uncounted: Rows of which some token count is not known: tokens and cost cannot be planned then.
        waiting: Shards that have begun, but are not through all steps.
    """

    moments: dict[str, Moments] = field(default_factory=dict)
    collected: dict[str, tuple[int, int]] = field(default_factory=dict)
    cut: dict[str, tuple[int, int]] = field(default_factory=dict)
    whole: bool = False
    withheld: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    uncounted: int = 0
    waiting: int = 0

    @property
    def seeds(self) -> int:
        """How many were piloted."""
        return sum(moments.n for moments in self.moments.values())


def read_pilot(config: Config, tariff: Tariff) -> Pilot:
    """Return what the run of a configuration, which names its directory, has found out.

    Only shards that are through all steps count, for those half done would look cheap; of very many the first.

    Args:
        config: The run's configuration, with its directory.
        tariff: What the steps would cost now.

    Raises:
        StoreError: If a shard is damaged.
    """
    run = RunDir(config.run.dir.absolute())
    current = Current(run, config, run_document(run)["fingerprints"])
    pilot = Pilot(failed=set(read_json(run.failed_tasks) or ()))
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        _collected(pilot, current)
        for kept, gone, withheld in threads.map(_cut, current.shards("seeds").values()):
            for task in {*kept, *gone}:
                before = pilot.cut.get(task, (0, 0))
                pilot.cut[task] = (before[0] + kept[task], before[1] + gone[task])
            pilot.withheld |= withheld
        pilot.whole = len(current.shards("seeds")) == (read_json(run.cut) or {}).get("shards")
        shards = [_through(current, name) for name in current.shards("seeds")]
        whole = [found for found in shards if found is not None]
        pilot.waiting = len(current.shards("generate")) - len(whole)
        parts = threads.map(lambda found: _moments(found, tariff), whole[:_MOST])
        moments: defaultdict[str, list[Moments]] = defaultdict(list)
        for part, uncounted in parts:
            pilot.uncounted += uncounted
            for task, one in part.items():
                moments[task].append(one)
    pilot.moments = {task: reduce(Moments.plus, several) for task, several in moments.items()}
    return pilot


def _collected(pilot: Pilot, current: Current) -> None:
    for name, shard in current.shards("collect").items():
        task = task_of(name)
        planned, out = pilot.collected.get(task, (0, 0))
        pilot.collected[task] = (planned + shard.counts.planned, out + shard.counts.out)


def _cut(shard: Shard) -> tuple[Counter[str], Counter[str], set[str]]:
    """Return the seeds of a shard that stayed and that went, by task, and the tasks that are withheld."""
    kept = Counter(rows_by_task(shard))
    if not shard.counts.rejected:
        return kept, Counter(), set()
    table = read_columns(shard.path, ["task", "reason"], REJECTS)
    rows = list(zip(table["task"].to_pylist(), table["reason"].to_pylist(), strict=True))
    return kept, Counter(task for task, _ in rows), {task for task, reason in rows if reason == "withheld"}


def _through(current: Current, name: str) -> dict[str, Shard] | None:
    found = {step: current.get(step, name) for step in _STEPS}
    whole = {step: shard for step, shard in found.items() if shard is not None and not shard.counts.pending}
    return whole if len(whole) == len(found) else None


def _moments(shards: Mapping[str, Shard], tariff: Tariff) -> tuple[dict[str, Moments], int]:
    """Return the moments of a shard's seeds by task, and how many rows have no token counts."""
    questions, rejected = _read(shards["generate"], ("question_id", "seed_id", "task"), "generate")
    answers, unanswered = _read(shards["enrich"], ("question_id",), "enrich")
    accepted = read_columns(shards["curate"].path, ["question_id"])["question_id"].to_pylist()
    seed_of = dict(zip(questions.names["question_id"], questions.names["seed_id"], strict=True))
    task_of = dict(zip(questions.names["seed_id"], questions.names["task"], strict=True))
    # A reject of generate is called after its seed and the number of the question.
    rejects = [name.rpartition("-")[0] for name in rejected.names["record_id"]]
    task_of |= dict(zip(rejects, rejected.names["task"], strict=True))
    place = {seed: at for at, seed in enumerate(task_of)}
    table = np.zeros((len(place), len(FIGURES)))
    asked: list[tuple[Asking, _Rows, list[str]]] = [
        ("generate", questions, questions.names["seed_id"]),
        ("generate", rejected, rejects),
        ("enrich", answers, [seed_of[question] for question in answers.names["question_id"]]),
        ("enrich", unanswered, [seed_of[question] for question in unanswered.names["record_id"]]),
    ]
    for step, rows, seeds in asked:
        price = tariff.prices.get(tariff.models[step])
        figures = np.column_stack([*rows.tokens, np.zeros(len(seeds)), _cost(rows.tokens, price)])
        np.add.at(table, [place[seed] for seed in seeds], figures)
    np.add.at(table[:, FIGURES.index("accepted")], [place[seed_of[question]] for question in accepted], 1)
    tasks = np.array([*task_of.values()], dtype=object)
    found = {task: Moments.of(table[tasks == task], len(FIGURES)) for task in dict.fromkeys(task_of.values())}
    return found, sum(rows.uncounted for _, rows, _ in asked)


@dataclass
class _Rows:
    """Columns of a shard: names, and requests, prompt, cached and completion tokens of each row."""

    names: dict[str, list[str]]
    tokens: list[Vector]
    uncounted: int


def _read(shard: Shard, names: Iterable[str], step: Asking) -> tuple[_Rows, _Rows]:
    """Return the rows of a shard, and its rejects."""
    return _columns(shard.path, names, step, ROWS), _columns(shard.path, ("record_id", "task"), step, REJECTS)


def _columns(path: Path, names: Iterable[str], step: Asking, file: str) -> _Rows:
    column = f"{step}_tokens"
    table = read_columns(path, [*names, column], file)
    known = column in table.column_names
    fields = table[column].combine_chunks().flatten() if known else []
    figures = dict(zip((each.name for each in table.schema.field(column).type), fields, strict=True)) if known else {}
    empty = pa.nulls(table.num_rows, pa.int64())
    tokens = [figures.get(name, empty) for name in _TOKENS]
    requests, prompt, _, completion = tokens
    # Rows that nothing was asked about have no struct at all; where one has, its counts may still be unknown.
    asked = np.asarray(requests.fill_null(0 if known else 1)) > 0
    missing = np.asarray(prompt.is_null()) | np.asarray(completion.is_null())
    return _Rows(
        {name: table[name].to_pylist() for name in names},
        [np.asarray(each.fill_null(0), dtype=np.float64) for each in tokens],
        int((asked & missing).sum()),
    )


def _cost(tokens: list[Vector], price: Price | None) -> Vector:
    """Return what each row cost; zero where there is no price: then the cost is not planned at all."""
    _, prompt, cached, completion = tokens
    if price is None:
        return np.zeros(len(prompt))
    at = price.prompt if price.cached is None else price.cached
    cached = np.minimum(cached, prompt)
    cost: Vector = ((prompt - cached) * price.prompt + cached * at + completion * price.completion) / 1e6
    return cost
