"""The plan of a run: seeds, requests, tokens, accepted questions, time and price, by task and in all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from curator_sdg.changes import reasons
from curator_sdg.collecting import selection_of
from curator_sdg.config import Config
from curator_sdg.costs import Tariff
from curator_sdg.planning.estimate import Estimator, Interval, Scope, Totals
from curator_sdg.planning.pilot import FIGURES, Pilot, read_pilot
from curator_sdg.planning.scope import SeedCounts, count_seeds
from curator_sdg.planning.speed import Speed, measured
from curator_sdg.rundir import RunDir
from curator_sdg.steps import dependencies
from curator_sdg.teacher.journal.usage import add_up, cost_of, journal_usage, total

_SLOTS_FILLED = 10  # a pilot of fewer replies for each slot has hardly filled them
_NAMED = 4  # differences that are told, and tasks
_ASKED_STEPS = ("generate", "dedup", "enrich", "curate")


@dataclass(frozen=True)
class Given:
    """What the user says of the hardware.

    Attributes:
        tokens_per_s: Completion tokens a second of all GPUs together; null: as the pilot was.
        gpus: How many there are; null: those that ``vllm.gpus`` of the teachers name, else nobody knows.
    """

    tokens_per_s: float | None = None
    gpus: int | None = None


@dataclass
class Plan:
    """What a run will take.

    Attributes:
        seeds: Seeds that are asked about, by task; null in a task's place stands for one whose size nobody knows.
        tasks: Figures by task, each an interval; none where there was no pilot.
        whole: The same over all tasks.
        requests_at_most: Requests of generate, and what they and those of enrich come to if every question is kept.
        pilot: What it was made from.
        goes_on: Whether the pilot is a part of what is planned; else it is on top.
        spent: What the run itself has used so far, and what that cost.
        speed: Completion tokens a second; null where nobody knows.
        gpus: That write them; null where nobody knows.
        lower_bound: Whether the teacher may well be faster than that.
        notes: What the user should know of it.
    """

    seeds: dict[str, Interval | None]
    requests_at_most: tuple[int, int]
    pilot: Pilot
    source: str | None = None
    tasks: dict[str, dict[str, Interval]] = field(default_factory=dict)
    whole: dict[str, Interval] = field(default_factory=dict)
    goes_on: bool = False
    spent: dict[str, Any] = field(default_factory=dict)
    speed: Speed | None = None
    gpus: int | None = None
    lower_bound: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def all_seeds(self) -> Interval:
        """The seeds of all tasks whose size is known."""
        known = [seeds for seeds in self.seeds.values() if seeds is not None]
        return Interval(*(sum(column) for column in zip(*known, strict=True))) if known else Interval(0, 0, 0)

    def hours(self, figures: Mapping[str, Interval]) -> Interval | None:
        """Return how long the teacher takes to write what ``figures`` say; null where nobody knows."""
        if self.speed is None or "completion" not in figures:
            return None
        return figures["completion"].times(1 / self.speed.tokens_per_s / 3600)

    def gpu_hours(self, figures: Mapping[str, Interval]) -> Interval | None:
        """Return the same in hours of one GPU."""
        hours = self.hours(figures)
        return hours.times(self.gpus) if hours and self.gpus else None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; an interval is ``{estimate, low, high}``, null where it is not known."""

        def plain(seeds: Interval | None, known: Mapping[str, Interval]) -> dict[str, Any]:
            times = {"hours": _plain(self.hours(known)), "gpu_hours": _plain(self.gpu_hours(known))}
            return {"seeds": _plain(seeds), **{name: _plain(known.get(name)) for name in FIGURES}, **times}

        tasks = [
            {"task": task, "piloted": self._piloted(task), **plain(seeds, self.tasks.get(task, {}))}
            for task, seeds in self.seeds.items()
        ]
        return {
            "from": self.source,
            "piloted": self.pilot.seeds,
            "goes_on_from_pilot": self.goes_on,
            "confidence": 0.9,
            "total": plain(self.all_seeds, self.whole),
            "gpus": self.gpus,
            "tokens_per_second": self.speed.tokens_per_s if self.speed else None,
            "tokens_per_second_is_lower_bound": self.lower_bound,
            "requests_at_most": {"generate": self.requests_at_most[0], "all": self.requests_at_most[1]},
            "spent": self.spent,
            "notes": self.notes,
            "tasks": tasks,
        }

    def _piloted(self, task: str) -> int:
        moments = self.pilot.moments.get(task)
        return moments.n if moments else 0


def make_plan(config: Config, source: Config | None, given: Given) -> Plan:
    """Return the plan of a run.

    Args:
        config: What is planned.
        source: The configuration, with its directory, of a run that has begun; null where there is none.
        given: What the user says of the hardware.

    Raises:
        SdgError: If the run cannot be read, or the configuration's tasks are not to be had.
    """
    pilot = read_pilot(source, Tariff.of(config)) if source is not None else Pilot()
    selection = selection_of(config)
    counts = count_seeds(config, selection, pilot, source)
    differs = list(_differences(config, source)) if source is not None and pilot.seeds else []
    plan = Plan({}, (0, 0), pilot, str(source.run.dir) if source is not None else None)
    estimator = Estimator(pilot.moments, FIGURES)
    plan.goes_on = not differs and _goes_on(config, source, pilot)
    scopes = _scopes(config, counts, pilot, same=plan.goes_on)
    plan.seeds = {task: estimator.seeds(task, scope) for task, scope in scopes.items()}
    plan.seeds |= dict.fromkeys(counts.unknown)
    plan.requests_at_most = _at_most(config, plan.all_seeds.high)
    if pilot.seeds:
        known = _known_figures(config, pilot)
        totals = {task: estimator.totals(task, scope) for task, scope in scopes.items()}
        plan.tasks = {task: _intervals(estimator, one, known) for task, one in totals.items()}
        if totals:
            plan.whole = _intervals(estimator, reduce(Totals.plus, totals.values()), known)
        _time(plan, config, source, given)
    plan.spent = _spent(config)
    plan.notes = list(_notes(plan, config, counts))
    if differs:
        more = f"; and {len(differs) - _NAMED:,} more" if len(differs) > _NAMED else ""
        said = "; ".join(differs[:_NAMED])
        plan.notes.append(f"the pilot was another one, and may have other figures ({said}{more})")
    return plan


def _plain(value: Interval | None) -> dict[str, float] | None:
    return None if value is None else value._asdict()


def _goes_on(config: Config, source: Config | None, pilot: Pilot) -> bool:
    """Whether the piloted seeds are among those that are planned, and their replies need not be paid for again."""
    if (
        source is None
        or config.run.dir.absolute() != source.run.dir.absolute()
        or config.seeds != source.seeds
        or config.run.seed != source.run.seed
    ):
        return False
    limit = config.run.limit
    return limit is None or (source.run.limit or pilot.seeds) <= limit


def _scopes(config: Config, counts: SeedCounts, pilot: Pilot, *, same: bool) -> dict[str, Scope]:
    scopes = {}
    for task, seeds in counts.of.items():
        moments = pilot.moments.get(task)
        piloted = moments.n if same and moments else 0
        wanted, each = config.run.accepted_per_task, config.generate.questions_per_seed
        scopes[task] = Scope(max(seeds, piloted), piloted, wanted, each)
    return scopes


def _intervals(estimator: Estimator, totals: Totals, known: tuple[str, ...]) -> dict[str, Interval]:
    return {name: estimator.interval(totals, name) for name in known}


def _known_figures(config: Config, pilot: Pilot) -> tuple[str, ...]:
    """Return the figures that can be planned: tokens where they are counted, and the cost where there are prices."""
    if pilot.uncounted:
        return ("requests", "accepted")
    priced = all(teacher.price is not None for teacher in config.asked.values())
    return FIGURES if priced else tuple(name for name in FIGURES if name != "cost")


def _at_most(config: Config, seeds: float) -> tuple[int, int]:
    questions = round(seeds) * config.generate.questions_per_seed
    return questions, questions * (1 + config.enrich.samples)


def _time(plan: Plan, config: Config, source: Config | None, given: Given) -> None:
    """Find out how fast the teacher is."""
    if "completion" not in plan.whole:
        return
    if given.tokens_per_s is not None:
        plan.speed = Speed(given.tokens_per_s, 0)
    elif source is not None and all(teacher.engine != "recorded" for teacher in source.asked.values()):
        plan.speed = measured(RunDir(source.run.dir.absolute()).journal)
        slots = sum(teacher.max_in_flight for teacher in config.asked.values())
        plan.lower_bound = plan.speed is not None and plan.speed.replies < _SLOTS_FILLED * slots
    named = sum(len(teacher.vllm.gpus or ()) for teacher in config.asked.values())  # they all work at once
    plan.gpus = given.gpus or named or None


def _spent(config: Config) -> dict[str, Any]:
    used = add_up(journal_usage(RunDir(config.run.dir.absolute()).journal).values())
    whole = total(used)
    tokens = {name: getattr(whole, f"{name}_tokens") for name in ("prompt", "cached", "completion")}
    return {"replies": whole.replies, **tokens, "cost": cost_of(used, config.prices)}


def _differences(config: Config, source: Config) -> Iterator[str]:
    """Yield in what the run that was piloted is another one than the one that is planned."""
    depends = dependencies(config)
    names = {name for step in _ASKED_STEPS for name in depends[step]}
    for line in reasons(RunDir(source.run.dir.absolute()).config, config, depends):
        if any(line.startswith(name) for name in names) or line.startswith("an earlier version"):
            yield line


def _notes(plan: Plan, config: Config, counts: SeedCounts) -> Iterator[str]:
    if counts.unknown:
        yield f"tasks of unknown size, which come on top, {len(counts.unknown):,}: {_some(counts.unknown)}"
    if counts.failed:
        yield f"tasks that the run could not load, which are left out, {len(counts.failed):,}: {_some(counts.failed)}"
    if not counts.certain:
        yield "seeds are reckoned from the sizes of the sources: nothing, or not all, has been read yet"
    if plan.pilot.waiting:
        yield f"shards of the pilot that are not through all steps, and are left out: {plan.pilot.waiting:,}"
    if plan.pilot.uncounted:
        yield (
            f"tokens and cost cannot be planned: {plan.pilot.uncounted:,} rows of the pilot carry no token counts, as "
            "those of an endpoint that sends none, or of an earlier version"
        )
    elif plan.pilot.seeds and "cost" not in plan.whole:
        keys = " and ".join(f"{key}.price" for key, teacher in config.asked.items() if teacher.price is None)
        yield f"the cost is not known: {keys} is not set"
    if plan.pilot.seeds and (unseen := [task for task in counts.of if task not in plan.pilot.moments]):
        yield f"tasks without a seed in the pilot, which are thought to be like the others: {len(unseen):,}"


def _some(tasks: Sequence[str]) -> str:
    return ", ".join(tasks[:_NAMED]) + (", ..." if len(tasks) > _NAMED else "")
