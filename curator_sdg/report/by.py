"""The accounts of a run by task, family, group or language: from columns of the shards, on demand."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
from rich import box
from rich.table import Table

from curator_sdg.config import ASKING, Asking, Config
from curator_sdg.costs import Tariff
from curator_sdg.current import Current
from curator_sdg.records import TOKENS
from curator_sdg.report.figures import money, short
from curator_sdg.rundir import RunDir, run_document
from curator_sdg.spent import Rows, Spent, add_rows, one_a_question, sum_tokens
from curator_sdg.store import REJECTS, ROWS, Shard, read_columns

GROUPINGS = ("task", "family", "group", "language")
_AT_ONCE = 16
_MIDDLE, _WIDE = 100, 150

_TOGETHER = 256  # files whose columns are summed at once

Sums = dict[tuple[str, ...], Rows]
_Part = TypeVar("_Part")


class _Figures(NamedTuple):
    seeds: int
    questions: int
    accepted: int
    judged: int
    passed: int
    spent: Rows


_COUNTS = ("seeds", "questions", "accepted", "judged", "passed")


def parts_of(config: Config, by: str) -> list[dict[str, Any]]:
    """Return the accounts of a run part by part, in falling order of seeds; the last one is all of it, called null.

    ``questions`` are those that were asked for and came to something, good or rejected. ``accepted`` are in the
    package, or, while their shard is not packaged yet, passed all checks. ``yield`` is the share of questions that
    passed, over shards that are through all checks; null where there is none. Tokens are those of rows and rejects, so
    what was asked for rows that are pending is not among them, nor what was set aside. A cost is null where a price or
    a count is not known.

    Args:
        config: The run's, with its directory.
        by: One of ``GROUPINGS``.
    """
    run = RunDir(config.run.dir.absolute())
    current, tariff = Current(run, config, run_document(run)["fingerprints"]), Tariff.of(config)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        seeds, called = _seeds(threads, by, current.shards("seeds").values())
        curated, generated = current.shards("curate"), current.shards("generate")
        through = {name: shard for name, shard in generated.items() if name in curated}
        judged = _settled(threads, "generate", through.values())
        ahead = _settled(threads, "generate", (generated[name] for name in generated.keys() - through.keys()))
        spent: dict[Asking, Sums] = {
            "generate": {key: judged.get(key, Rows()).plus(ahead.get(key, Rows())) for key in {**judged, **ahead}},
            "enrich": _settled(threads, "enrich", current.shards("enrich").values()),
        }
        passed = _sums(threads, _questions, curated.values(), ["task"])
        packaged = current.shards("package")
        unpackaged = [shard for name, shard in curated.items() if name not in packaged]
        accepted = _sums(threads, _questions, [*packaged.values(), *unpackaged], ["task"])
    found: defaultdict[str, list[_Figures]] = defaultdict(list)
    for task in {*seeds, *(task for (task,) in {**spent["generate"], **accepted})}:
        generate, enrich = (spent[step].get((task,), Rows()) for step in ASKING)
        steps = Rows(0, {**generate.steps, **enrich.steps})
        kept, tried, good = (sums.get((task,), Rows()).rows for sums in (accepted, judged, passed))
        figures = _Figures(seeds[task], generate.rows, kept, tried, good, steps)
        found[called.get(task, task)].append(figures)
    parts = [_part(name, figures, tariff) for name, figures in found.items()]
    parts.sort(key=lambda part: (-part["seeds"], part["name"]))
    return [*parts, _part(None, [figures for several in found.values() for figures in several], tariff)]


def parts_table(parts: Sequence[Mapping[str, Any]], by: str, *, width: int) -> Table:
    """Return the accounts, a line a part; tokens by step where there is room for them."""
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2 if width >= _MIDDLE else 1, 0, 0)
    )
    table.add_column(by, overflow="fold")
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        name: lambda part, name=name: short(part[name])  # type: ignore[misc]
        for name in ("seeds", "questions", "accepted")
        if width >= _MIDDLE or name != "questions"
    }
    columns["yield"] = lambda part: "" if part["yield"] is None else f"{part['yield']:.0%}"
    for step in ASKING if width >= _WIDE else (None,):
        for name in ("prompt", "cached", "completion") if width >= _MIDDLE else ("prompt", "completion"):
            columns[f"{step} {name}" if step else name] = _tokens_of(step, name)
    if any(part["cost"] is not None for part in parts):
        columns["cost"] = lambda part: _money(part["cost"])
        columns["each"] = lambda part: _money(part["cost_per_accepted_question"])
    for name in columns:
        table.add_column(name, justify="right", no_wrap=" " not in name)
    if unknown := sum(parts[-1]["steps"][step]["uncounted"] for step in ASKING):
        table.caption = f"of {unknown:,} replies no token counts are known: what they took is not in here"
        table.caption_justify = "left"
    for at, part in enumerate(parts):
        last = part["name"] is None
        cells = [part["name"] or "all", *(cell(part) for cell in columns.values())]
        table.add_row(*cells, style="bold" if last else None, end_section=at == len(parts) - 2)
    return table


def _tokens_of(step: str | None, name: str) -> Callable[[Mapping[str, Any]], str]:
    steps = ASKING if step is None else (step,)
    return lambda part: short(sum(part["steps"][step][f"{name}_tokens"] for step in steps))


def _money(amount: float | None) -> str:
    return "" if amount is None else money(amount)


def _part(name: str | None, figures: Sequence[_Figures], tariff: Tariff) -> dict[str, Any]:
    seeds, questions, accepted, judged, passed = (sum(getattr(one, n) for one in figures) for n in _COUNTS)
    rows = add_rows(one.spent for one in figures)
    cost = tariff.cost(rows)
    return {
        "name": name,
        "seeds": seeds,
        "questions": questions,
        "accepted": accepted,
        "yield": passed / judged if judged else None,
        "steps": {step: _figures(rows.at(step)) for step in ASKING},
        "cost": cost,
        "cost_per_accepted_question": cost / accepted if cost is not None and accepted else None,
    }


def _figures(spent: Spent) -> dict[str, int]:
    return {
        "replies": spent.requests,
        "prompt_tokens": spent.prompt,
        "cached_tokens": spent.cached,
        "completion_tokens": spent.completion,
        "uncounted": spent.uncounted,
    }


def _seeds(threads: ThreadPoolExecutor, by: str, shards: Iterable[Shard]) -> tuple[Counter[str], dict[str, str]]:
    """Return the seeds by task, and what each task's part is called."""
    columns = list(dict.fromkeys(("task", by)))
    seeds: Counter[str] = Counter()
    names: defaultdict[str, set[str]] = defaultdict(set)
    for key, rows in _sums(threads, lambda shard: read_columns(shard.path, columns), shards, columns).items():
        seeds[key[0]] += rows.rows
        names[key[0]].add(key[-1])
    return seeds, {task: ", ".join(sorted(several)) for task, several in names.items()}


def _settled(threads: ThreadPoolExecutor, step: Asking, shards: Iterable[Shard]) -> Sums:
    """Return what a step has spent by task, on its rows and its rejects."""
    files = [
        (shard, file) for shard in shards for file in (ROWS, REJECTS) if file == ROWS or shard.counts.rejected.total()
    ]
    return _sums(threads, lambda part: _tokens(*part, step), files, ["task"])


def _tokens(shard: Shard, file: str, step: Asking) -> pa.Table:
    column = f"{step}_tokens"
    table = read_columns(shard.path, ("task", column), file)
    if column in table.column_names:
        return table
    # A shard of an older version: something was asked, and nobody knows how much.
    return table.append_column(column, pa.array([{"requests": 1}] * table.num_rows, TOKENS))


def _questions(shard: Shard) -> pa.Table:
    return one_a_question(read_columns(shard.path, ("question_id", "task"))).select(["task"])


def _sums(
    threads: ThreadPoolExecutor, read: Callable[[_Part], pa.Table], parts: Iterable[_Part], by: Sequence[str]
) -> Sums:
    """Return the sums over the tables of many parts of a run, by the values of some columns."""
    sums: Sums = {}
    every = iter(parts)
    while several := list(islice(every, _TOGETHER)):
        for key, rows in sum_tokens(pa.concat_tables(threads.map(read, several)), by).items():
            sums[key] = sums.get(key, Rows()).plus(rows)
    return sums
