"""A run from the first step to the package: what is left to do is found out, done, and accounted for.

Every start is the same: publish what is missing. A shard is missing when it was never published, was made under
another fingerprint or from other input, or has rows pending. Nothing else is remembered between starts.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import yaml
from nemo_curator.pipeline import Pipeline
from nemo_curator.tasks import Task

import curator_sdg
from curator_sdg.backend import ClusterSpec, DaskExecutor, start_cluster
from curator_sdg.changes import changes
from curator_sdg.collecting import (
    Collecting,
    fruitless_tasks,
    in_order,
    left_out_lines,
    selection_of,
    task_states,
    withheld_tasks,
)
from curator_sdg.config import ASKING, Config
from curator_sdg.current import Current, compute_ledger
from curator_sdg.epoch import Epoch
from curator_sdg.errors import AskingEnded, ConfigError, SourceError, Superseded
from curator_sdg.ledger import Counts, Ledger
from curator_sdg.packaging.export import export, packaged
from curator_sdg.progress import Progress
from curator_sdg.quota import short_lines
from curator_sdg.retries import Retries
from curator_sdg.reuse import check_source, take_over
from curator_sdg.rundir import INPUTS, STEPS, RunDir
from curator_sdg.seeds.cut import count_shards, cut_seeds
from curator_sdg.seeds.repeats import task_of
from curator_sdg.seeds.select import Selection
from curator_sdg.seeds.stages import SourceTask
from curator_sdg.shards import SOURCE_ERROR, shard_task
from curator_sdg.steps import Context, Stages, check, dependencies, fingerprints, place, step_stages
from curator_sdg.store import Shard, clean_leftovers, publish_file, read_json, remove_shard
from curator_sdg.teacher import Teacher, make_teacher
from curator_sdg.teacher.budget import Budget
from curator_sdg.teacher.dispatch.places import Places
from curator_sdg.teacher.servers import launch
from curator_sdg.teacher.servers.supervisor import serving
from curator_sdg.waves import LOG_LEVEL, Waves

if TYPE_CHECKING:
    from distributed import Client

_WARNED = 10  # tasks without seeds that are told one by one
_VERSIONS = ("nemo-curator", "lm-eval", "dask", "pyarrow", "datasets")


@dataclass
class Run:
    """One start of a run; a context, for it holds a cluster once it needs one.

    Args:
        config: The validated configuration.
        progress: Where work is shown.
        reuse: Another run's directory, of which what still holds is taken over.
        retry: Reasons whose rejects, of generate and enrich, are to be asked about again.

    Raises:
        SdgError: On entering, if the directory cannot be written or the configuration cannot work.
    """

    config: Config
    progress: Progress = field(default_factory=Progress)
    reuse: Path | None = None
    retry: Collection[str] = ()

    def __post_init__(self) -> None:
        self.dir = RunDir(self.config.run.dir.absolute())
        self.stopped: str | None = None
        """Why the run ended before everything was asked; null where it did not."""
        self._stack = ExitStack()
        self._servers = self._stack.enter_context(ExitStack())

    def __enter__(self) -> Self:
        self.depends = dependencies(self.config)
        self.fingerprints = fingerprints(self.depends)
        check(self.config, self.dir)
        self.dir.claim()
        # All that can be refused is, before a start that goes on is taken over from.
        source = check_source(self.reuse, self.dir)
        self._check_retry(source or self.dir)
        self.epoch = Epoch.start(self.dir.path)
        hours = self.config.run.max_hours
        ends_at = None if hours is None else time.time() + hours * 3600
        budget = Budget(self.config.run.max_tokens, self.config.run.max_cost, ends_at, self.config.prices)
        self.context = Context(self.config, self.dir, self.epoch, budget)
        self._clean()
        if source is not None:
            self.progress.say(take_over(source, self.dir, self.look()))
        there = self.dir if source is None else source
        for line in changes(there, self.config, self.depends, Current(there, self.config, self.fingerprints)):
            self.progress.say(line)
        self._set_aside()
        self._write_config()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if error is not None and not isinstance(error, Superseded) and isinstance(error, Exception):
            # What a newer start does to the directory looks like damage from here; say what it is.
            self.epoch.check(fresh=True)

    def execute(self, until: str = STEPS[-1]) -> Ledger:
        """Do what is left to do up to a step, and return the accounts.

        Raises:
            SdgError: One clear message, for everything that the user can mend.
        """
        last = STEPS.index(until)
        self._write_config(until)
        self.progress.plan(STEPS[: last + 1])
        with self.progress.live():
            if last >= STEPS.index("generate") and not self.look().found("generate"):
                self.check_teacher()  # before anything is read, where it is sure to be asked
            self.collect()
            if last >= STEPS.index("seeds"):
                self.cut()
            self.ask_and_curate(
                [step for step in ("generate", "dedup", "enrich", "curate") if last >= STEPS.index(step)]
            )
            self._stop_servers()
            if last >= STEPS.index("package"):
                self.package()
        self.epoch.check(fresh=True)
        self._clean()  # what killed workers left half-written
        return self.account(until)

    def account(self, until: str = STEPS[-1]) -> Ledger:
        """Write the ledger from the shards and return it.

        Raises:
            LedgerError: If a row is unaccounted for.
        """
        self.epoch.check(fresh=True)
        ledger = compute_ledger(self.config, until)
        lines = short_lines(ledger.short, self.config.run.accepted_per_task or 0)
        for line in _some(lines, f"`short` in {self.dir.ledger} has them", "are short of questions"):
            self.progress.warn(line)
        publish_file(self.dir.ledger, _json(ledger.to_json()))
        ledger.check()
        return ledger

    # ---- the steps -------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Steps 1 and 2: read every task's training split and normalise it.

        Raises:
            SourceError: If no task can be loaded, or one cannot and ``seeds.strict`` is set.
        """
        publish_file(self.dir.left_out, _json(dict(self.selection.left_out)))
        for line in left_out_lines(self.selection.left_out, self.dir.left_out):
            self.progress.say(line)
        if todo := self.tasks_to_collect():
            asked = {task.shard for task in todo}
            done = [shard.counts for name, shard in self.look().shards("collect").items() if name not in asked]
            self.note_failed(self.run_pipeline("collect", todo, done))
        else:
            self.note_failed([])
        nothing = fruitless_tasks(in_order(self.look().shards("collect"), self.selection), self.dir.path)
        otherwise = f"`curator-sdg show {self.dir.path} --step rejects` prints the rejects"
        for line in _some([f"{name}: no seeds: {why}" for name, why in nothing.items()], otherwise):
            self.progress.warn(line)

    def note_failed(self, results: Sequence[Task[Any]]) -> None:
        """Report the tasks among the results of collecting that could not be loaded.

        Raises:
            SourceError: If no task can be loaded, or one cannot and ``seeds.strict`` is set.
        """
        failed = {
            result._metadata["task"]: result._metadata[SOURCE_ERROR]
            for result in results
            if SOURCE_ERROR in result._metadata
        }
        wanted = task_states(self.config, self.selection)
        self._keep_only("collect", [name for name in wanted if task_of(name) not in failed])
        publish_file(self.dir.failed_tasks, _json(failed))
        lines = [f"{name}: no seeds: {error}" for name, error in failed.items()]
        lines = _some(lines, f"why stands in {self.dir.failed_tasks}")
        if failed and (self.config.seeds.strict or len(failed) == len(self.selection.chosen)):
            raise SourceError("\n".join(lines))
        for line in lines:
            self.progress.warn(line)

    def cut(self) -> None:
        """Cut the collected seeds into shards, all tasks mixed, and say how many of them are asked about at first.

        Raises:
            SourceError: If there is no seed at all.
        """
        self._cut()
        if (wanted := self.config.run.accepted_per_task) is not None:
            current = self.look()
            current.quota(wanted).begin({task: at.seeds for task, at in current.standings().items()})

    def _cut(self) -> None:
        self.epoch.check(fresh=True)
        current, run = self.look(), self.config.run
        collected = in_order(current.shards("collect"), self.selection)
        planned = sum(shard.counts.out for shard in collected)
        # The cut stays, but for halving: seeds keep their shards, and shards their journals, whatever comes or goes.
        fixed = read_json(self.dir.cut) or {}
        # Which of two equal questions stays is for the tasks' order to say: another one is another cut.
        order = list(dict.fromkeys(task_of(shard.name) for shard in collected))
        cut_before = current.shards("seeds")
        whole = sum(shard.counts.planned for shard in cut_before.values()) == planned and fixed.get("order") == order
        if planned and whole and count_shards(planned, run.shard_size, fixed["shards"]) == fixed["shards"]:
            self._keep_only("seeds", cut_before.keys())  # audited when it was made
            return
        withheld = withheld_tasks(collected, self.selection, self.config.seeds.release)
        for name, why in withheld.items():
            self.progress.warn(f"{name}: withheld: {why}; seeds.release: [{name}] uses it all the same")
        usable = sum(shard.counts.out for shard in collected if task_of(shard.name) not in withheld)
        if not usable:
            raise SourceError(
                "no row of any task could be made a seed; "
                f"see `curator-sdg show {self.dir.path} --step rejects` for those that were read"
            )
        shards = count_shards(usable, run.shard_size, fixed.get("shards"))
        if fixed != {"shards": shards, "order": order}:
            publish_file(self.dir.cut, _json({"shards": shards}))
            current = self.look()
        elif whole:
            self._keep_only("seeds", cut_before.keys())
            return
        self.progress.begin("seeds", shards)
        names = set()
        target, fingerprint = self.dir.step("seeds"), current.fingerprint("seeds")
        cut = cut_seeds(collected, target, shards=shards, limit=run.limit, fingerprint=fingerprint, withheld=withheld)
        for shard in cut:
            self.epoch.check()
            self.progress.advance("seeds", shard.counts)
            names.add(shard.name)
        self.progress.end("seeds")
        self._keep_only("seeds", names)
        publish_file(self.dir.cut, _json({"shards": shards, "order": order}))

    def ask_and_curate(self, steps: Collection[str] = ("generate", "dedup", "enrich", "curate")) -> None:
        """Steps 3 to 5: ask and curate, in rounds where so many questions of each task are wanted."""
        wanted = self.config.run.accepted_per_task
        while True:
            if asking := [step for step in steps if step != "curate"]:
                self.ask(asking)
            if "curate" not in steps:
                if wanted is not None and "generate" in steps:
                    self.progress.say("no further round: what is accepted is known after the step curate")
                return
            self.do("curate")
            if wanted is None or self.stopped or not self._next_round(wanted):
                return

    def _next_round(self, wanted: int) -> bool:
        """Have more seeds asked about for the tasks that are short of questions; returns whether there are any."""
        current = self.look()
        names = [name for wave in current.waves for name in wave]
        if any(current.missing(step, name) for step in ("generate", "enrich", "curate") for name in names):
            return False  # what is pending may still be accepted
        standings = current.standings()
        more = current.quota(wanted).go_on(standings)
        if not more:
            return False
        missing = sum(wanted - standings[task].accepted for task in more)
        tasks = "1 task has" if len(more) == 1 else f"{len(more):,} tasks have"
        self.progress.say(
            f"another round: {tasks} fewer than {wanted:,} accepted questions, {missing:,} are missing; "
            f"{sum(more.values()):,} more seeds are asked about"
        )
        return True

    def ask(self, steps: Collection[str] = ("generate", "dedup", "enrich")) -> None:
        """Steps 3 and 4: generate questions, drop duplicates, and answer what is left, wave after wave.

        It ends early when a budget is reached or a teacher fails; ``stopped`` then says so, and what is whole can be
        packaged.
        """
        self._keep_only_cut(*steps)
        self._start_servers(steps)
        try:
            Waves(self, steps).execute()
        except AskingEnded as ended:
            self.stopped = str(ended)
        else:
            current = self.look()
            if not any(current.missing(step, name) for step in ASKING for wave in current.waves for name in wave):
                Retries(self.dir.retries).end()

    def _start_servers(self, steps: Collection[str]) -> None:
        """Start the servers of the teachers that these steps ask, where they are the run's own; once."""
        for step in ASKING:
            key, section = self.config.key_of(step), self.config.teacher_of(step)
            if section.engine != "vllm" or step not in steps or key in self.context.teachers:
                continue
            current = self.look()
            if any(current.missing(step, name) for wave in current.waves for name in wave):
                folder = self.dir.servers / quote(key, safe="")  # a name may be that of a model: org/model
                served = self._servers.enter_context(serving(section, folder, self.progress.say))
                self.context = replace(self.context, teachers={**self.context.teachers, key: served})

    def _stop_servers(self) -> None:
        """End the servers that were started, so that their GPUs are free."""
        self._servers.close()
        self.context = replace(self.context, teachers={})

    def dedup(self) -> None:
        """Find the questions that repeat a seed, or a question of the same or an earlier wave."""
        self.ask(["dedup"])

    def do(self, step: str) -> None:
        """Publish what is missing of a step that turns each shard into one, as far as what it reads is there."""
        self._keep_only_cut(step)
        current = self.look()
        todo = self.todo(step, current)
        done = [shard.counts for name, shard in current.shards(step).items() if not current.missing(step, name)]
        self.run_pipeline(step, todo, done)

    def package(self) -> None:
        """Step 5, last part: render every example and write the package.

        While rows are pending, a package that has more examples is left as it is.
        """
        self.do("package")
        self.epoch.check(fresh=True)
        shards = list(self.look().shards("package").values())
        pending = compute_ledger(self.config, "package").pending
        held, new = packaged(self.dir.package), sum(shard.counts.out for shard in shards)
        # One that could not be reached any more, whatever becomes of the pending rows, is of another configuration.
        if pending and new < held <= new + pending * len(self.config.package.variants):
            self.progress.warn(
                f"{self.dir.package} is left as it was, with {held:,} examples: of this configuration there are only "
                f"{new:,} so far, and {pending:,} rows are pending"
            )
            return
        manifest = {"versions": versions(), "fingerprint": self.fingerprints["package"], "pending": pending}
        export(shards, self.dir.package, self.config.package, manifest)

    # ---- how a step is done ----------------------------------------------------------------------------------

    @cached_property
    def selection(self) -> Selection:
        """The tasks that the configuration asks for, and those that it leaves out."""
        return selection_of(self.config)

    @property
    def cluster_spec(self) -> ClusterSpec:
        """The cluster that the configuration asks for."""
        return ClusterSpec(
            cpu_workers=self.config.cluster.workers,
            further_teachers={place(key): teacher.open_shards for key, teacher in self.config.asked.items()},
            memory_limit=self.config.cluster.memory_limit,
        )

    @cached_property
    def client(self) -> Client:
        """The cluster's client; the first step that has something to do starts it."""
        return self._stack.enter_context(start_cluster(self.cluster_spec))

    def look(self) -> Current:
        """Return a fresh look at the shards that need not be made again."""
        return Current(self.dir, self.config, self.fingerprints)

    def stages(self, step: str) -> Stages:
        """Return the Curator stages of a step, from reading a shard to publishing one."""
        return step_stages(step, self.context, self.fingerprints[step])

    def tasks_to_collect(self) -> list[SourceTask]:
        """Return one Curator task for each part of an lm-eval task's split that has to be read.

        What is not at hand is fetched from the hub first.
        """
        there = self.look().shards("collect")
        self._keep_only("collect", task_states(self.config, self.selection))
        return Collecting(self.config, self.selection, self._aside).todo(there)

    def todo(self, step: str, current: Current | None = None) -> list[Task[Any]]:
        """Return one Curator task for each shard that a step has to make, and of which the input is there."""
        current = current or self.look()
        names = [name for wave in current.waves for name in wave if current.missing(step, name)]
        return [self.task(step, name, current) for name in names if current.upstream(step, name) is not None]

    def task(self, step: str, name: str, current: Current) -> Task[Any]:
        """Return the Curator task that stands for one shard of a step."""
        inputs = [self.dir.step(source) / name for source in INPUTS[step]]
        return shard_task(step, inputs, current.upstream(step, name) or "", current.first(step, name))

    def run_pipeline(self, step: str, tasks: Sequence[Task[Any]], done: Sequence[Counts] = ()) -> list[Task[Any]]:
        """Run a step's stages over its tasks, and show how far it is, beside the shards that are done already."""
        self.progress.begin(step, len(done) + len(tasks), done)
        results: list[Task[Any]] = []
        if tasks:
            executor = DaskExecutor(
                {"log_level": LOG_LEVEL},
                client=self.client,
                on_task_done=lambda task: self.progress.advance(step, task._metadata.get("counts", Counts())),
            )
            results = Pipeline(name=step, stages=self.stages(step)).run(executor, initial_tasks=list(tasks)) or []
        self.progress.end(step)
        return results

    def _aside(self, name: str, stages: Stages, tasks: Sequence[Task[Any]]) -> list[Task[Any]]:
        """Run a small pipeline that publishes nothing."""
        if name == "fetch":  # what may take long, and has no bar
            self.progress.say(f"fetched from the hub: {len(tasks):,} training splits")
        executor = DaskExecutor({"log_level": LOG_LEVEL}, client=self.client)
        return Pipeline(name=name, stages=stages).run(executor, initial_tasks=list(tasks)) or []

    def check_teacher(self) -> None:
        """Ask each teacher once whether it can be used, before a cluster of workers finds out."""
        if "_teacher_checked" not in self.__dict__:
            for section in self.config.asked.values():
                if section.engine == "vllm":
                    launch.prepare(section)  # its servers are started when there is something to ask
                else:
                    asyncio.run(_check(make_teacher(section)))
            self._teacher_checked = True

    def _clean(self) -> None:
        for folder in (self.dir.path, *(self.dir.step(step) for step in STEPS)):
            clean_leftovers(folder)

    def _asked_shards(self, run: RunDir) -> list[tuple[str, Shard]]:
        current = Current(run, self.config, self.fingerprints)
        return [(step, shard) for step in ASKING for shard in current.shards(step).values()]

    def _check_retry(self, run: RunDir) -> None:
        """Make sure that rejects can be asked again, if that is wanted."""
        reasons = Retries(run.retries).open_round
        if reasons and not {*self.retry} <= {*reasons}:
            raise ConfigError(
                f"--retry-rejects {','.join(self.retry)}: those with {','.join(reasons)} are still being asked again; "
                "run without the option until that is done"
            )
        if self.retry and all(teacher.engine == "recorded" for teacher in self.config.asked.values()):
            raise ConfigError("--retry-rejects: a recorded teacher can only say again what it said; ask another one")
        if self.retry and not reasons:
            Retries(run.retries).count(self._asked_shards(run), self.retry)

    def _set_aside(self) -> None:
        """Have rejects asked about again: those of a start that did not end, or those that this one is to."""
        retries = Retries(self.dir.retries)
        if reasons := retries.open_round:
            retries.resume()
            self.progress.say(f"going on with the rejects that are asked about again ({', '.join(reasons)})")
        elif self.retry:
            shards = self._asked_shards(self.dir)
            counts = retries.count(shards, self.retry)
            retries.begin(shards, self.retry)
            said = ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
            self.progress.say(f"asked about again: {counts.total():,} rejects ({said})")

    def _keep_only(self, step: str, names: Collection[str]) -> None:
        """Remove the shards that the run no longer has."""
        self.epoch.check(fresh=True)
        for name, shard in self.look().found(step).items():
            if name not in names:
                remove_shard(shard.path)

    def _keep_only_cut(self, *steps: str) -> None:
        names = self.look().shards("seeds").keys()
        for step in steps:
            self._keep_only(step, names)

    def _write_config(self, until: str | None = None) -> None:
        self.epoch.check(fresh=True)
        document = {
            **self.config.model_dump(mode="json"),
            "versions": versions(),
            "fingerprints": self.fingerprints,
            "depends": self.depends,
            "until": until,
        }
        publish_file(self.dir.config, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


async def _check(teacher: Teacher) -> None:
    try:
        await teacher.open(Places(1, 0.0))
    finally:
        await teacher.close()


def versions() -> dict[str, str]:
    """Return the versions that a run's output may depend on."""
    return {"curator-sdg": curator_sdg.__version__, **{name: metadata.version(name) for name in _VERSIONS}}


def _some(lines: Sequence[str], otherwise: str, what: str = "have no seeds") -> list[str]:
    """Return the first of many lines, a task each, and how many more there are."""
    more = [f"{len(lines) - _WARNED:,} more tasks {what}; {otherwise}"] if len(lines) > _WARNED else []
    return [*lines[:_WARNED], *more]


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
