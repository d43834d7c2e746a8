"""A run from the first step to the package: what is left to do is found out, done, and accounted for.

Every start is the same: publish what is missing. A shard is missing when it was never published, was made under
another fingerprint or from other input, or has rows pending. Nothing else is remembered between starts.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import yaml
from nemo_curator.pipeline import Pipeline
from nemo_curator.tasks import Task

import curator_sdg
from curator_sdg.backend import ClusterSpec, DaskExecutor, start_cluster
from curator_sdg.config import Config
from curator_sdg.curation.dedup.exact import ExactDedup
from curator_sdg.epoch import Epoch
from curator_sdg.errors import SourceError
from curator_sdg.ledger import Counts, Ledger
from curator_sdg.packaging.export import export
from curator_sdg.progress import Progress
from curator_sdg.rundir import INPUTS, STEPS, Current, RunDir, compute_ledger, waves
from curator_sdg.seeds.catalog import load_catalog
from curator_sdg.seeds.cut import count_shards, cut_seeds
from curator_sdg.seeds.sources import source_state
from curator_sdg.seeds.stages import SourceTask, source_tasks
from curator_sdg.shards import SOURCE_ERROR, shard_task
from curator_sdg.steps import Stages, check, fingerprints, step_stages
from curator_sdg.store import Shard, clean_leftovers, list_shards, publish_file, read_json, read_shard
from curator_sdg.teacher import make_teacher

if TYPE_CHECKING:
    from distributed import Client

_VERSIONS = ("nemo-curator", "lm-eval", "dask", "pyarrow", "datasets")


@dataclass
class Run:
    """One start of a run; a context, for it holds a cluster once it needs one.

    Args:
        config: The validated configuration.
        progress: Where work is shown.

    Raises:
        SdgError: On entering, if the directory cannot be written or the configuration cannot work.
    """

    config: Config
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.dir = RunDir(self.config.run.dir.absolute())
        self._stack = ExitStack()
        self._dedup = ExactDedup()

    def __enter__(self) -> Self:
        self.fingerprints = fingerprints(self.config)
        check(self.config, self.dir)
        self.dir.claim()
        self.epoch = Epoch.start(self.dir.path)
        for folder in (self.dir.path, *(self.dir.step(step) for step in STEPS)):
            clean_leftovers(folder)
        self._write_config()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def execute(self, until: str = STEPS[-1]) -> Ledger:
        """Do what is left to do up to a step, and return the accounts.

        Raises:
            SdgError: One clear message, for everything that the user can mend.
        """
        last = STEPS.index(until)
        if last >= STEPS.index("generate") and not self._current().shards("generate"):
            self._check_teacher()  # before anything is read, where it is sure to be asked
        self.collect()
        if last >= STEPS.index("seeds"):
            self.cut()
        for wave in self.waves() if last >= STEPS.index("generate") else ():
            self.do("generate", wave)
            if last >= STEPS.index("dedup"):
                self.dedup(wave)
            if last >= STEPS.index("enrich"):
                self.do("enrich", wave)
        if last >= STEPS.index("curate"):
            self.do("curate")
        if last >= STEPS.index("package"):
            self.package()
        return self.account(until)

    def account(self, until: str = STEPS[-1]) -> Ledger:
        """Write the ledger from the shards and return it.

        Raises:
            LedgerError: If a row is unaccounted for.
        """
        self.epoch.check()
        ledger = compute_ledger(self.config, until)
        publish_file(self.dir.ledger, _json(ledger.to_json()))
        ledger.check()
        return ledger

    # ---- the steps -------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Steps 1 and 2: read every task's training split and normalise it.

        Raises:
            SourceError: If no task can be loaded, or one cannot and ``seeds.strict`` is set.
        """
        todo = self.tasks_to_collect()
        self.note_failed(self.run_pipeline("collect", todo, len(self.config.seeds.tasks)) if todo else [])

    def note_failed(self, results: Sequence[Task[Any]]) -> None:
        """Report the tasks among the results of collecting that could not be loaded.

        Raises:
            SourceError: If no task can be loaded, or one cannot and ``seeds.strict`` is set.
        """
        choices = self.config.seeds.tasks
        failed = {
            result._metadata["shard"]: result._metadata[SOURCE_ERROR]
            for result in results
            if SOURCE_ERROR in result._metadata
        }
        self._keep_only("collect", {choice.name for choice in choices} - failed.keys())
        publish_file(self.dir.failed_tasks, _json(failed))
        for name, error in failed.items():
            self.progress.warn(f"{name}: no seeds: {error}")
        if failed and (self.config.seeds.strict or len(failed) == len(choices)):
            raise SourceError("\n".join(f"{name}: {error}" for name, error in failed.items()))

    def cut(self) -> None:
        """Cut the collected seeds into shards, all tasks mixed.

        Raises:
            SourceError: If there is no seed at all.
        """
        self.epoch.check()
        current = self._current()
        collected = list(current.shards("collect").values())
        planned = sum(shard.counts.out for shard in collected)
        if not planned:
            raise SourceError("no row of any task could be made a seed; see `curator-sdg show RUN --step rejects`")
        if sum(shard.counts.planned for shard in current.shards("seeds").values()) == planned:
            return
        run = self.config.run
        # The number of shards stays what it was when the run was first cut: seeds keep their shards, and shards
        # their journals, whatever seeds come or go.
        fixed = read_json(self.dir.cut) or {}
        if fixed.get("shard_size") != run.shard_size:
            fixed = {"shard_size": run.shard_size, "shards": count_shards(planned, run.shard_size)}
            publish_file(self.dir.cut, _json(fixed))
        cut = cut_seeds(
            collected,
            self.dir.step("seeds"),
            shards=fixed["shards"],
            limit=run.limit,
            fingerprint=current.fingerprint("seeds"),
        )
        self._keep_only("seeds", {shard.name for shard in cut})

    def waves(self) -> list[list[str]]:
        """Return the names of each wave's shards: a wave is a fixed slice of the seeds."""
        return waves(list(list_shards(self.dir.step("seeds"))), self.config)

    def do(self, step: str, names: Sequence[str] | None = None) -> None:
        """Publish what is missing of a step that turns each shard into one: all of its shards, or ``names``."""
        if names is None:
            names = list(list_shards(self.dir.step("seeds")))
        self._keep_only(step, set(list_shards(self.dir.step("seeds"))))
        if todo := self.todo(step, names):
            if step in ("generate", "enrich"):
                self._check_teacher()
            self.run_pipeline(step, todo, len(names))

    def dedup(self, names: Sequence[str] | None = None) -> None:
        """Find the questions that repeat a seed, or a question of the same or an earlier wave."""
        self.epoch.check()
        current = self._current()
        seeds = current.shards("seeds")
        self._keep_only("dedup", set(seeds))
        for wave in waves(list(seeds), self.config):
            todo = {name for name in wave if name not in current.shards("dedup") and name in (names or wave)}
            if todo:
                compared = list(seeds)[: list(seeds).index(wave[-1]) + 1]
                questions = [self._shard("generate", name) for name in compared]
                upstream = current.upstream("dedup", wave[-1]) or ""
                target, fingerprint = self.dir.step("dedup"), current.fingerprint("dedup")
                self._dedup.publish(self.client, list(seeds.values()), questions, todo, target, upstream, fingerprint)

    def package(self) -> None:
        """Step 5, last part: render every example and write the package."""
        self.do("package")
        self.epoch.check()
        shards = list(list_shards(self.dir.step("package")).values())
        manifest = {"versions": versions(), "fingerprint": self.fingerprints["package"]}
        export(shards, self.dir.package, self.config.package, manifest)

    # ---- how a step is done ----------------------------------------------------------------------------------

    @property
    def cluster_spec(self) -> ClusterSpec:
        """The cluster that the configuration asks for."""
        return ClusterSpec(
            cpu_workers=self.config.cluster.workers,
            teacher_threads=self.config.teacher.open_shards,
            memory_limit=self.config.cluster.memory_limit,
        )

    @cached_property
    def client(self) -> Client:
        """The cluster's client; the first step that has something to do starts it."""
        return self._stack.enter_context(start_cluster(self.cluster_spec))

    def stages(self, step: str) -> Stages:
        """Return the Curator stages of a step, from reading a shard to publishing one."""
        return step_stages(step, self.config, self.dir, self.fingerprints[step], self.epoch)

    def tasks_to_collect(self) -> list[SourceTask]:
        """Return one Curator task for each lm-eval task that has to be collected."""
        seeds = self.config.seeds
        catalog = load_catalog()
        state = {c.name: source_state(catalog.entry(c.name).source, seeds.data_root) for c in seeds.tasks}
        current = self._current().shards("collect")
        done = {name for name, shard in current.items() if shard.upstream == state.get(name)}
        tasks = [t for t in source_tasks(seeds.tasks, limit=seeds.limit_per_task) if t.data not in done]
        for task in tasks:
            task._metadata["upstream"] = state[task.data]
        return tasks

    def todo(self, step: str, names: Sequence[str] | None = None) -> list[Task[Any]]:
        """Return one Curator task for each shard that a step has to make."""
        if names is None:
            names = list(list_shards(self.dir.step("seeds")))
        current = self._current()
        valid = {name for name, shard in current.shards(step).items() if not shard.counts.pending}
        return [
            shard_task(
                step,
                [self._shard(source, name).path for source in INPUTS[step]],
                current.upstream(step, name) or "",
            )
            for name in names
            if name not in valid
        ]

    def run_pipeline(self, step: str, tasks: Sequence[Task[Any]], total: int) -> list[Task[Any]]:
        """Run a step's stages over its tasks, and show how far it is of ``total`` shards."""
        client = self.client
        with self.progress.step(step, total, done=total - len(tasks)) as advance:

            def published(task: Task[Any]) -> None:
                advance(task._metadata.get("counts", Counts()))

            # Curator warns of every batch without rows, which is normal here: the account has them all.
            executor = DaskExecutor({"log_level": "ERROR"}, client=client, on_task_done=published)
            pipeline = Pipeline(name=step, stages=self.stages(step))
            return pipeline.run(executor, initial_tasks=list(tasks)) or []

    def _check_teacher(self) -> None:
        """Ask the teacher once whether it can be used, before a cluster of workers finds out."""
        if "_teacher_checked" not in self.__dict__:
            teacher = make_teacher(self.config.teacher)

            async def check() -> None:
                try:
                    await teacher.open()
                finally:
                    await teacher.close()

            asyncio.run(check())
            self._teacher_checked = True

    def _current(self) -> Current:
        """Return a fresh look at the shards that need not be made again."""
        return Current(self.dir, self.config, self.fingerprints)

    def _keep_only(self, step: str, names: set[str]) -> None:
        """Remove the shards that the run no longer has."""
        for name, shard in list_shards(self.dir.step(step)).items():
            if name not in names:
                shutil.rmtree(shard.path)

    def _shard(self, step: str, name: str) -> Shard:
        shard = read_shard(self.dir.step(step) / name)
        if shard is None:
            raise FileNotFoundError(f"{self.dir.step(step) / name} has not been published yet")
        return shard

    def _write_config(self) -> None:
        document = {
            **self.config.model_dump(mode="json"),
            "versions": versions(),
            "fingerprints": self.fingerprints,
        }
        publish_file(self.dir.config, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def versions() -> dict[str, str]:
    """Return the versions that a run's output may depend on."""
    return {"curator-sdg": curator_sdg.__version__, **{name: metadata.version(name) for name in _VERSIONS}}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
