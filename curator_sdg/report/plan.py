"""A plan for the terminal: a line a task, the whole, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rich import box
from rich.table import Table

from curator_sdg.planning.estimate import Interval
from curator_sdg.planning.plan import Plan
from curator_sdg.report.figures import money, short

_MIDDLE, _WIDE = 100, 130
_Cell = Callable[[Mapping[str, Interval]], str]


def plan_table(plan: Plan, *, width: int) -> Table:
    """Return a line a task, in falling order of seeds, and one for all; what has no room is left out.

    Half of the 90 % interval stands beside each figure, as a share of it.
    """
    padding = (0, 2 if width >= _MIDDLE else 1, 0, 0)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=padding)
    table.add_column("task", overflow="fold")
    columns = dict(_columns(plan, width))
    for name in ("seeds", *columns):
        table.add_column(name, justify="right", no_wrap=True)
    order = sorted(plan.seeds.items(), key=lambda item: (-(item[1].estimate if item[1] else 0), item[0]))
    for at, (task, seeds) in enumerate(order):
        known = plan.tasks.get(task, {})
        last = at == len(order) - 1
        table.add_row(task, _count(seeds), *(cell(known) for cell in columns.values()), end_section=last)
    table.add_row("all", _count(plan.all_seeds), *(cell(plan.whole) for cell in columns.values()), style="bold")
    return table


def plan_text(plan: Plan) -> str:
    """Return in a few lines what the whole comes to, what it rests on, and what the user should know."""
    return "\n".join(_lines(plan))


def _columns(plan: Plan, width: int) -> Iterator[tuple[str, _Cell]]:
    if not plan.whole:
        return
    names = ["accepted", "completion"]
    if width >= _MIDDLE:
        names = ["requests", "accepted", "prompt", "completion"]
    if width >= _WIDE:
        names.insert(3, "cached")
    for name in names:
        if name in plan.whole:
            yield name, lambda known, name=name: _count(known.get(name))  # type: ignore[misc]
    if plan.gpu_hours(plan.whole):
        yield "GPU-hours", lambda known: _cell(plan.gpu_hours(known), money)
    if "cost" in plan.whole:
        yield "cost", lambda known: _cell(known.get("cost"), money)


def _count(value: Interval | None) -> str:
    return "?" if value is None else _cell(value, short)


def _cell(value: Interval | None, told: Callable[[float], str]) -> str:
    if value is None:
        return ""
    half = (value.high - value.low) / 2 / value.estimate if value.estimate else 0
    return told(value.estimate) + (f" ±{half:.0%}" if half >= 0.005 else "")


def _lines(plan: Plan) -> Iterator[str]:
    if not plan.whole:
        generate, every = plan.requests_at_most
        yield f"{generate:,} requests of generate, and {every:,} with those of enrich if no question is dropped"
        yield "tokens, accepted questions and cost follow from a pilot: --pilot 200, or --from RUN"
    else:
        yield f"planned from {plan.pilot.seeds:,} seeds of {plan.source}, with 90 % intervals of chance alone:"
        for name, unit in (
            ("requests", "requests"),
            ("prompt", "prompt tokens"),
            ("cached", "of these from the prefix cache"),
            ("completion", "completion tokens"),
            ("accepted", "accepted questions"),
        ):
            if name in plan.whole and (name != "cached" or plan.whole[name].estimate):
                yield _line(unit, plan.whole[name], short)
        if "cost" in plan.whole:
            yield _line("cost", plan.whole["cost"], money)
        yield from _time(plan)
    if plan.spent["replies"]:
        cost = plan.spent["cost"]
        price = "" if cost is None else f", which cost {money(cost)}"
        of_it = "of this, the run has" if plan.goes_on or not plan.whole else "besides, the run has had"
        yield f"{of_it} {plan.spent['replies']:,} replies already{price}"
    yield from plan.notes


def _time(plan: Plan) -> Iterator[str]:
    hours, gpu_hours = plan.hours(plan.whole), plan.gpu_hours(plan.whole)
    if "completion" not in plan.whole:
        return
    if plan.speed is None or hours is None:
        yield "hours are not known: --tokens-per-second X tells how fast the teacher writes"
        return
    speed = f"at {plan.speed.tokens_per_s:,.0f} completion tokens a second"
    if plan.speed.replies:
        speed += f", as measured on {plan.speed.replies:,} replies"
    yield _line(speed, hours, _time_of)
    if gpu_hours is not None:
        yield _line(f"GPU-hours on {plan.gpus} GPUs", gpu_hours, money)
    if plan.lower_bound:
        yield "that is a lower bound of the speed: the pilot was too small to fill every slot of teacher.max_in_flight"


def _line(unit: str, value: Interval, told: Callable[[float], str]) -> str:
    low, high = told(value.low), told(value.high)
    span = f" ({low} to {high})" if low != high else ""
    return f"  {told(value.estimate)} {unit}{span}" if unit != "cost" else f"  cost {told(value.estimate)}{span}"


def _time_of(hours: float) -> str:
    minutes = hours * 60
    if minutes < 1.5:
        return f"{minutes * 60:.2g} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{money(hours)} hours"
