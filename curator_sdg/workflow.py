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
from typing import TYPE_CHECKING, Any

import yaml
from nemo_curator.pipeline import Pipeline
from nemo_curator.tasks import Task

import curator_sdg
from curator_sdg import steps
from curator_sdg.backend import ClusterSpec, DaskExecutor, start_cluster
from curator_sdg.config import Config
from curator_sdg.curation.dedup.exact import ExactDedup
from curator_sdg.epoch import Epoch
from curator_sdg.errors import SdgError, SourceError
from curator_sdg.identity import stable_hash
from curator_sdg.ledger import Counts, Ledger
from curator_sdg.packaging.export import export
from curator_sdg.progress import Progress
from curator_sdg.rundir import STEPS, RunDir, compute_ledger
from curator_sdg.seeds.cut import cut_seeds
from curator_sdg.seeds.stages import SOURCE_ERROR, source_tasks
from curator_sdg.shards import shard_task
from curator_sdg.steps import Stages
from curator_sdg.store import Shard, clean_leftovers, list_shards, publish_file, read_shard
from curator_sdg.teacher import make_teacher

if TYPE_CHECKING:
    from distributed import Client

_VERSIONS = ("nemo-curator", "lm-eval", "dask", "pyarrow", "datasets")


@dataclass
class Run:
    """One start of a run.

    Args:
        config: The validated configuration.
        until: The last step to do.
        progress: Where work is shown.
    """

    config: Config
    until: str = STEPS[-1]
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.dir = RunDir(self.config.run.dir.absolute())
        self.fingerprints = steps.fingerprints(self.config)
        self._dedup_cache = ExactDedup()

    def execute(self) -> Ledger:
        """Do what is left to do, and return the accounts.

        Raises:
            SdgError: One clear message, for everything that the user can mend.
        """
        # The filters are imported and built once here, so that a wrong one ends the run before anything is paid for.
        steps.curate_stages(self.config, self.dir, "")
        self.epoch = Epoch.start(self.dir.path)
        for step in STEPS:
            clean_leftovers(self.dir.step(step))
        self._write_config()
        with ExitStack() as stack:
            self._stack = stack
            for step in STEPS[: STEPS.index(self.until) + 1]:
                # From generating to enriching the waves take turns; see _waves.
                if step == "generate":
                    self._waves()
                elif step not in ("dedup", "enrich"):
                    getattr(self, f"_{step}")()
        ledger = compute_ledger(self.config, self.until)
        publish_file(self.dir.ledger, _json(ledger.to_json()))
        ledger.check()
        return ledger

    @cached_property
    def client(self) -> Client:
        """The cluster's client; the cluster is started by the first step that has something to do."""
        spec = ClusterSpec(
            cpu_workers=self.config.cluster.workers,
            teacher_threads=self.config.teacher.open_shards,
            memory_limit=self.config.cluster.memory_limit,
        )
        return self._stack.enter_context(start_cluster(spec))

    @cached_property
    def _teacher_checked(self) -> bool:
        """Ask the teacher once whether it can be used, before a cluster of workers finds out."""
        teacher = make_teacher(self.config.teacher)

        async def check() -> None:
            await teacher.open()
            await teacher.close()

        asyncio.run(check())
        return True

    # ---- the steps -------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        choices = self.config.seeds.tasks
        done = self._valid("collect", {choice.name: "" for choice in choices})
        failed: dict[str, str] = {}
        todo = [
            task for task in source_tasks(choices, limit=self.config.seeds.limit_per_task) if task.data not in done
        ]
        if todo:
            stages = steps.collect_stages(self.config, self.dir, self.fingerprints["collect"])
            for result in self._pipeline("collect", stages, todo, len(choices)):
                if error := result._metadata.get(SOURCE_ERROR):
                    failed[result._metadata["shard"]] = error
        self._keep_only("collect", {choice.name for choice in choices} - failed.keys())
        publish_file(self.dir.failed_tasks, _json(failed))
        for name, error in failed.items():
            self.progress.warn(f"{name}: no seeds: {error}")
        if failed and (self.config.seeds.strict or len(failed) == len(choices)):
            raise SourceError("\n".join(f"{name}: {error}" for name, error in failed.items()))

    def _seeds(self) -> None:
        collected = list(list_shards(self.dir.step("collect")).values())
        if not sum(shard.counts.out for shard in collected):
            raise SourceError("no row of any task could be made a seed; see `curator-sdg show RUN --step rejects`")
        fingerprint = stable_hash(self.fingerprints["seeds"], self.config.run.limit)
        upstream = stable_hash([shard.content for shard in collected])
        current = list_shards(self.dir.step("seeds"))
        whole = sum(shard.counts.planned for shard in current.values()) == sum(s.counts.out for s in collected)
        if not whole or any((s.fingerprint, s.upstream) != (fingerprint, upstream) for s in current.values()):
            run = self.config.run
            cut = cut_seeds(
                collected,
                self.dir.step("seeds"),
                shard_size=run.shard_size,
                limit=run.limit,
                fingerprint=fingerprint,
            )
            self._keep_only("seeds", {shard.name for shard in cut})

    def _waves(self) -> None:
        """Generate, deduplicate and enrich, wave by wave: a wave is a fixed slice of the seeds' shards."""
        names = list(list_shards(self.dir.step("seeds")))
        for step in ("generate", "dedup", "enrich"):
            self._keep_only(step, set(names))
        wave = self.config.run.wave_size // self.config.run.shard_size
        last = STEPS.index(self.until)
        for start in range(0, len(names), wave):
            self._generate(names[start : start + wave])
            if last >= STEPS.index("dedup"):
                self._dedup(names[: start + wave], names[start : start + wave])
            if last >= STEPS.index("enrich"):
                self._enrich(names[start : start + wave])

    def _generate(self, names: Sequence[str]) -> None:
        stages = steps.generate_stages(self.config, self.dir, self.fingerprints["generate"], self.epoch)
        inputs = {name: [self._shard("seeds", name)] for name in names}
        self._shards("generate", stages, inputs, asks=True)

    def _dedup(self, compared: Sequence[str], names: Sequence[str]) -> None:
        """Find the questions of ``names`` that repeat a seed or an earlier question among ``compared``."""
        seeds = list(list_shards(self.dir.step("seeds")).values())
        questions = [self._shard("generate", name) for name in compared]
        upstream = stable_hash([shard.content for shard in (*seeds, *questions)])
        done = self._valid("dedup", dict.fromkeys(names, upstream))
        if len(done) < len(names):
            target = self.dir.step("dedup")
            fingerprint = self.fingerprints["dedup"]
            self._dedup_cache.publish(self.client, seeds, questions, set(names), target, upstream, fingerprint)

    def _enrich(self, names: Sequence[str]) -> None:
        stages = steps.enrich_stages(self.config, self.dir, self.fingerprints["enrich"], self.epoch)
        inputs = {name: [self._shard("generate", name), self._shard("dedup", name)] for name in names}
        self._shards("enrich", stages, inputs, asks=True)

    def _curate(self) -> None:
        names = list(list_shards(self.dir.step("enrich")))
        self._keep_only("curate", set(names))
        stages = steps.curate_stages(self.config, self.dir, self.fingerprints["curate"])
        self._shards("curate", stages, {name: [self._shard("enrich", name)] for name in names})

    def _package(self) -> None:
        names = list(list_shards(self.dir.step("curate")))
        self._keep_only("package", set(names))
        stages = steps.package_stages(self.config, self.dir, self.fingerprints["package"])
        self._shards("package", stages, {name: [self._shard("curate", name)] for name in names})
        shards = [self._shard("package", name) for name in names]
        manifest = {"versions": versions(), "fingerprint": self.fingerprints["package"]}
        export(shards, self.dir.package, self.config.package, manifest)

    # ---- how a step is done ----------------------------------------------------------------------------------

    def _shards(self, step: str, stages: Stages, inputs: dict[str, list[Shard]], *, asks: bool = False) -> None:
        """Publish those shards of a step that are missing."""
        upstream = {name: stable_hash([s.content for s in shards]) for name, shards in inputs.items()}
        done = self._valid(step, upstream)
        todo = [
            shard_task(step, [shard.path for shard in inputs[name]], upstream[name])
            for name in inputs
            if name not in done
        ]
        if todo:
            _ = asks and self._teacher_checked
            for _result in self._pipeline(step, stages, todo, len(inputs)):
                pass

    def _pipeline(self, step: str, stages: Stages, tasks: Sequence[Task[Any]], total: int) -> list[Task[Any]]:
        """Run a step's stages over its tasks, one task a shard."""
        client = self.client
        with self.progress.step(step, total, done=total - len(tasks)) as advance:

            def shown(task: Task[Any]) -> None:
                advance(task._metadata.get("counts", Counts()))

            executor = DaskExecutor(client=client, on_task_done=shown)
            return Pipeline(name=step, stages=stages).run(executor, initial_tasks=list(tasks)) or []

    def _valid(self, step: str, upstream: dict[str, str]) -> set[str]:
        """Return the names of the shards that need not be made again."""
        valid = set()
        for name, expected in upstream.items():
            shard = read_shard(self.dir.step(step) / name)
            same = shard is not None and (shard.fingerprint, shard.upstream) == (self.fingerprints[step], expected)
            if shard is not None and same and not shard.counts.pending:
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
            raise SdgError(f"{self.dir.step(step) / name}: was not published; run the same command again")
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
