"""``DaskExecutor``: Curator's executor interface on a Dask cluster."""

from __future__ import annotations

import contextlib
import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Client
from distributed.protocol import pickle
from loguru import logger
from nemo_curator.backends.base import BaseExecutor
from nemo_curator.tasks import EmptyTask, Task

from curator_sdg.backend.cluster import ClusterSpec, start_cluster
from curator_sdg.backend.flow import Flow, counted
from curator_sdg.backend.plan import Group, Stage, plan
from curator_sdg.backend.slot import PackedGroup
from curator_sdg.backend.worker import RunPlugin, close_run
from curator_sdg.errors import ConfigError, SdgError


@dataclass(frozen=True)
class _Options:
    """What ``config`` can set."""

    in_flight_per_slot: int = 2
    """Tasks in flight per slot of the workers: one at work, the others waiting so that no slot idles."""
    log_level: str = "WARNING"
    """Level of loguru in the workers."""
    grace_s: float = 30.0
    """How long to wait, after a failure, for calls that are still running before their stages are left to tear
    themselves down."""


class DaskExecutor(BaseExecutor):
    """Runs Curator pipelines on Dask: ``pipeline.run(executor=DaskExecutor())``.

    Example::

        with start_cluster(ClusterSpec(cpu_workers=8, teacher_threads=16)) as client:
            pipeline.run(executor=DaskExecutor(client=client))
    """

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        *,
        client: Client | None = None,
        cluster: ClusterSpec | None = None,
        on_task_done: Callable[[Task[Any]], None] | None = None,
    ):
        """Choose where to run.

        Args:
            config: ``in_flight_per_slot`` (2), ``log_level`` ("WARNING") and ``grace_s`` (30).
            client: A cluster that is there already and is left running. Its workers must declare what stages ask for,
                as in ``dask worker --resources "CPU=1"``.
            cluster: What to start, and close at the end, where there is no ``client``; by default one worker per core.
            on_task_done: Called in the driver with each final output as it becomes known, in no fixed order.

        Raises:
            ConfigError: ``config`` has an unknown key, or there are both a ``client`` and a ``cluster``.
        """
        super().__init__(config)
        unknown = set(self.config) - set(_Options.__dataclass_fields__)
        if unknown:
            raise ConfigError(
                f"DaskExecutor does not know {', '.join(sorted(unknown))}; its config takes "
                f"{', '.join(_Options.__dataclass_fields__)}."
            )
        if client is not None and cluster is not None:
            raise ConfigError("DaskExecutor takes a client or a cluster to start, not both.")
        self._options = _Options(**self.config)
        self._client = client
        self._cluster = cluster or ClusterSpec()
        self._on_task_done = on_task_done

    def execute(self, stages: list[Stage], initial_tasks: list[Task[Any]] | None = None) -> list[Task[Any]]:
        """Run the stages over the initial tasks; None or an empty list means one ``EmptyTask``.

        Returns:
            The outputs of the last stage, ordered by lineage: the order of the input tasks, then of fan-out.

        Raises:
            SdgError: A stage raised it, or a stage asks for resources that no worker has.
            StageError: A stage raised anything else.
        """
        if not stages:
            return []
        groups = plan(stages)
        with self._connected() as client:
            slots = _slots(client, groups)
            run_id = uuid.uuid4().hex[:12]
            plugin = RunPlugin(run_id, _pack(groups), self._options.log_level)
            client.register_plugin(plugin, name=plugin.name)
            limits = [
                min(group.max_running or math.inf, free * self._options.in_flight_per_slot)
                for group, free in zip(groups, slots, strict=True)
            ]
            flow = Flow(client, run_id, groups, [int(limit) for limit in limits])
            try:
                results = flow.results(initial_tasks or [EmptyTask()], self._on_task_done)
            except BaseException as error:
                # Whoever interrupts waits at the terminal: calls still running are left to end by themselves.
                self._abandon(
                    client, plugin, flow, 0.0 if isinstance(error, KeyboardInterrupt) else self._options.grace_s
                )
                raise
            problems = self._close(client, plugin, self._options.grace_s)
            if problems:
                # A stage that cannot tear down may not have written everything: that is no success.
                raise SdgError("All tasks were processed, but a stage failed at the end: " + "; ".join(problems))
            return results

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Client]:
        if self._client is not None:
            yield self._client
            return
        with start_cluster(self._cluster) as client:
            yield client

    def _abandon(self, client: Client, plugin: RunPlugin, flow: Flow, grace: float) -> None:
        try:
            flow.cancel()
            problems = self._close(client, plugin, grace)
        except Exception as error:  # noqa: BLE001 - the run's own error is the one to report, not a lost cluster
            problems = [repr(error)]
        for problem in problems:
            logger.warning("After a failed run: {}", problem)

    def _close(self, client: Client, plugin: RunPlugin, grace: float) -> list[str]:
        """Tear down everywhere; a worker that does not answer any more has nothing left to tear down."""
        answers = client.run(close_run, plugin.run_id, grace, on_error="ignore")
        client.unregister_worker_plugin(plugin.name)
        return [problem for problems in answers.values() for problem in problems]


def _slots(client: Client, groups: Sequence[Group]) -> list[int]:
    """How many tasks of each group the workers can run at once.

    Raises:
        SdgError: None, for some group.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    slots = []
    for group in groups:
        free = sum(min(_fits(worker["resources"], group.resources), worker["nthreads"]) for worker in workers)
        if not free:
            kinds = sorted({_shown(worker["resources"]) for worker in workers})
            raise SdgError(
                f"No worker can run stage {group.name!r}: it asks for {_shown(group.resources)}, "
                + (f"the {len(workers)} workers have {' or '.join(kinds)}." if kinds else "and there are no workers.")
            )
        slots.append(free)
    return slots


def _fits(have: Mapping[str, float], need: Mapping[str, float]) -> int:
    return min(int(have.get(name, 0.0) / amount) for name, amount in need.items())


def _shown(resources: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{name}: {amount:g}" for name, amount in sorted(resources.items())) + "}"


def _pack(groups: Sequence[Group]) -> list[PackedGroup]:
    """Pickle the stages one by one.

    Raises:
        SdgError: A stage cannot be pickled.
    """
    packed = []
    for at, group in enumerate(groups):
        stages = []
        for stage in group.stages:
            try:
                stages.append((stage.name, pickle.dumps(stage)))
            except Exception as error:
                # Pickling runs the stage's own code, which may raise anything.
                raise SdgError(
                    f"Stage {stage.name!r} cannot be sent to the workers ({error}). Open connections, locks and "
                    "models in its setup(), not in its constructor."
                ) from error
        packed.append(PackedGroup(tuple(stages), group.batch_size, counted(groups, at)))
    return packed
