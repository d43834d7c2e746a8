"""A run from the first step to the package: what is left to do is found out, done, and accounted for.

Every start is the same: publish what is missing. A shard is missing when it was never published, was made under
another fingerprint or from other input, or has rows pending. Nothing else is remembered between starts.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
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
from curator_sdg.identity import stable_hash
from curator_sdg.ledger import Counts, Ledger
from curator_sdg.packaging.export import export
from curator_sdg.progress import Progress
from curator_sdg.rundir import STEPS, RunDir, compute_ledger
from curator_sdg.seeds.catalog import load_catalog
from curator_sdg.seeds.cut import cut_seeds
from curator_sdg.seeds.sources import source_state
from curator_sdg.seeds.stages import SOURCE_ERROR, SourceTask, source_tasks
from curator_sdg.shards import shard_task
from curator_sdg.steps import Stages, fingerprints, step_stages
from curator_sdg.store import Shard, clean_leftovers, list_shards, publish_file, read_shard
from curator_sdg.teacher import make_teacher

if TYPE_CHECKING:
    from distributed import Client

_VERSIONS = ("nemo-curator", "lm-eval", "dask", "pyarrow", "datasets")
# The shards that a step's shard of the same name is made from.
_INPUTS = {
    "generate": ("seeds",),
    "enrich": ("generate", "dedup"),
    "curate": ("enrich",),
    "package": ("curate",),
}


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
        # Filters are imported and built here, so that a wrong one ends the run before anything is paid for.
        step_stages("curate", self.config, self.dir, "", None)
        self.epoch = Epoch.start(self.dir.path)
        for step in STEPS:
            clean_leftovers(self.dir.step(step))
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
        choices = self.config.seeds.tasks
        failed: dict[str, str] = {}
        if todo := self.tasks_to_collect():
            for result in self.run_pipeline("collect", todo, len(choices)):
                if error := result._metadata.get(SOURCE_ERROR):
                    failed[result._metadata["shard"]] = error
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
        collected = list(list_shards(self.dir.step("collect")).values())
        planned = sum(shard.counts.out for shard in collected)
        if not planned:
            raise SourceError("no row of any task could be made a seed; see `curator-sdg show RUN --step rejects`")
        run = self.config.run
        # The limit ends the order of seeds early; it is no part of the fingerprints of what comes after.
        fingerprint = stable_hash(self.fingerprints["seeds"], run.limit)
        upstream = stable_hash([shard.content for shard in collected])
        current = list_shards(self.dir.step("seeds")).values()
        whole = sum(shard.counts.planned for shard in current) == planned
        if not whole or any((s.fingerprint, s.upstream) != (fingerprint, upstream) for s in current):
            cut = cut_seeds(
                collected,
                self.dir.step("seeds"),
                shard_size=run.shard_size,
                limit=run.limit,
                fingerprint=fingerprint,
            )
            self._keep_only("seeds", {shard.name for shard in cut})

    def waves(self) -> Iterator[list[str]]:
        """Yield the names of each wave's shards: a wave is a fixed slice of the seeds."""
        names = list(list_shards(self.dir.step("seeds")))
        size = self.config.run.wave_size // self.config.run.shard_size
        for start in range(0, len(names), size):
            yield names[start : start + size]

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
        every = list(list_shards(self.dir.step("seeds")))
        names = every if names is None else names
        self._keep_only("dedup", set(every))
        seeds = [self._shard("seeds", name) for name in every]
        questions = [self._shard("generate", name) for name in every[: every.index(names[-1]) + 1]]
        upstream = stable_hash([shard.content for shard in (*seeds, *questions)])
        if len(self._valid("dedup", dict.fromkeys(names, upstream))) < len(names):
            fingerprint = self.fingerprints["dedup"]
            target = self.dir.step("dedup")
            self._dedup.publish(self.client, seeds, questions, set(names), target, upstream, fingerprint)

    def package(self) -> None:
        """Step 5, last part: render every example and write the package."""
        self.do("package")
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
        done = self._valid("collect", state)
        tasks = [t for t in source_tasks(seeds.tasks, limit=seeds.limit_per_task) if t.data not in done]
        for task in tasks:
            task._metadata["upstream"] = state[task.data]
        return tasks

    def todo(self, step: str, names: Sequence[str] | None = None) -> list[Task[Any]]:
        """Return one Curator task for each shard that a step has to make."""
        if names is None:
            names = list(list_shards(self.dir.step("seeds")))
        inputs = {name: [self._shard(source, name) for source in _INPUTS[step]] for name in names}
        upstream = {name: stable_hash([shard.content for shard in shards]) for name, shards in inputs.items()}
        done = self._valid(step, upstream)
        return [
            shard_task(step, [shard.path for shard in shards], upstream[name])
            for name, shards in inputs.items()
            if name not in done
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

    def _valid(self, step: str, upstream: dict[str, str]) -> set[str]:
        """Return the names of the shards that need not be made again."""
        valid = set()
        for name, expected in upstream.items():
            shard = read_shard(self.dir.step(step) / name)
            if shard is None or shard.counts.pending:
                continue
            if (shard.fingerprint, shard.upstream) == (self.fingerprints[step], expected):
                valid.add(name)
        return valid

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
