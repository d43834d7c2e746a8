"""Start a Dask cluster on this machine: CPU workers of one thread each, and the one teacher worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.worker_memory import parse_memory_limit

from curator_sdg.errors import ConfigError

_CONFIG = {
    # A worker that dies takes down whatever it held; over days that is no sign of a bad task. 3 would be Dask's own.
    "distributed.scheduler.allowed-failures": 100,
    # Where every worker of a kind is gone for good, its tasks fail rather than wait for ever.
    "distributed.scheduler.no-workers-timeout": "5 minutes",
    # Dask gives up, for good, on a worker that is away 15 s after one of its deaths; its nanny always brings it back.
    "distributed.deploy.lost-worker-timeout": "8760h",
    # Reaching for a worker that has just died is retried so long (30 s in Dask); on loopback a live one answers.
    "distributed.comm.timeouts.connect": "5s",
    # A sampling profiler nobody looks at, without the dashboard.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.large-graph-warning-threshold": "1 GB",
}


_CLOSE_WITHIN_S = 60.0
_BEFORE_RESTART_S = 0.3


class _Nanny(Nanny):
    """A nanny that waits a moment before it starts the successor of a worker that died.

    distributed (2026.7) starts all of them through one object. A start whose worker died while starting looks only
    every 50 ms; found anew in the state "starting" it takes its successor's first message from their queue, the
    successor is never known to run, and closing the cluster waits for it for ever.
    """

    async def _on_worker_exit(self, exitcode: int) -> None:
        await asyncio.sleep(_BEFORE_RESTART_S)
        await super()._on_worker_exit(exitcode)


class _NoLostPeers(logging.Filter):
    """Drops what asyncio tells of connections that broke while nobody waited for them: workers die, and come back."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], OSError))


class _NoUnbornCalls(logging.Filter):
    """Drops what tornado tells of a call that Ctrl-C ended before it began.

    ``distributed.utils.sync`` (2026.7) then cancels a future that does not exist yet; the interrupt is raised anyway.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], NameError) and "sync." in record.getMessage())


@dataclass(frozen=True)
class ClusterSpec:
    """What to start.

    Processes with one thread each beat threads for CPU stages (the interpreter lock); the teacher worker is one
    process with many threads, because its stages wait for a network and share one dispatcher.
    """

    kind: Literal["local"] = "local"
    cpu_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Worker processes with the resource ``{"CPU": 1}``."""
    teacher_threads: int = 0
    """Threads of the teacher worker, its resource ``{"TEACHER": n}``; 0 starts none."""
    further_teachers: Mapping[str, int] = field(default_factory=dict)
    """Further resources of the teacher worker, and threads for each: ``{"TEACHER:solver": 8}``."""
    memory_limit: str = "auto"
    """Per worker, as in ``"4 GiB"``; ``auto`` divides the machine's memory evenly. Above it a worker spills, then is
    restarted."""
    local_directory: str | None = None
    """Where workers spill to; Dask's scratch space by default, where it also removes what dead workers left."""

    def __post_init__(self) -> None:
        if self.kind != "local":
            raise ConfigError(f'Cluster kind {self.kind!r} is not known; there is "local".')
        if self.cpu_workers < 0 or self.teacher_threads < 0 or self.cpu_workers + sum(self.teachers.values()) == 0:
            raise ConfigError(
                "A cluster needs cpu_workers or teacher_threads, none negative; it has "
                f"{self.cpu_workers} and {self.teacher_threads}."
            )

    @property
    def teachers(self) -> dict[str, int]:
        """The resources of the teacher worker; none without one."""
        own = {"TEACHER": self.teacher_threads} if self.teacher_threads else {}
        return {**own, **self.further_teachers}


@contextlib.contextmanager
def start_cluster(spec: ClusterSpec | None = None) -> Iterator[Client]:
    """Start a cluster of processes on the loopback interface; it ends with the block, or with this process.

    Like anything that spawns processes, call it under ``if __name__ == "__main__":`` in a script: workers import the
    script's module again.

    Yields:
        A client; all workers have imported Curator and are ready. It is not made Dask's default client.
    """
    spec = spec or ClusterSpec()
    with contextlib.ExitStack() as stack:
        # Nannies write their workers' settings (OMP_NUM_THREADS=1, ...) into this process's environment.
        names = [*dask.config.get("distributed.nanny.pre-spawn-environ"), "PYTHONHASHSEED"]
        stack.callback(_restore_environment, {name: os.environ.get(name) for name in names})
        stack.enter_context(dask.config.set(_CONFIG))
        for logger, noise in (("asyncio", _NoLostPeers()), ("tornado.application", _NoUnbornCalls())):
            logging.getLogger(logger).addFilter(noise)
            stack.callback(logging.getLogger(logger).removeFilter, noise)
        cluster = SpecCluster(
            workers=_workers(spec),
            scheduler={
                "cls": Scheduler,
                "options": {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": ":0"},
            },
            # What fails reaches the client as an exception; the rest are workers that died, and are replaced.
            silence_logs=logging.CRITICAL,
        )
        stack.callback(_close, cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        client.wait_for_workers(len(cluster.worker_spec))
        yield client


def _close(cluster: SpecCluster) -> None:
    """Close a cluster; processes that do not end by then end with this one."""
    try:
        cluster.close(timeout=_CLOSE_WITHIN_S)
    except TimeoutError:
        logging.getLogger(__name__).warning("the cluster did not close within %g s", _CLOSE_WITHIN_S)


def _workers(spec: ClusterSpec) -> dict[str, Any]:
    count = spec.cpu_workers + bool(spec.teachers)
    options = {
        "host": "127.0.0.1",
        "dashboard": False,
        "local_directory": spec.local_directory,
        "memory_limit": parse_memory_limit(spec.memory_limit, 1, count, logger=logging.getLogger(__name__)),
        # Ctrl-C reaches the whole process group, but it is the driver that ends its workers, in order.
        "preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)", "curator_sdg.backend.worker"],
        "silence_logs": logging.ERROR,
        # The hash seed, too, must be the same in all workers; every Nanny sets 6640.
        "env": {"NEMO_CURATOR_SLURM_ARRAY_ENABLED": "0"},
    }
    workers = {
        f"cpu-{at}": {"cls": _Nanny, "options": {**options, "nthreads": 1, "resources": {"CPU": 1}}}
        for at in range(spec.cpu_workers)
    }
    if spec.teachers:
        threads = sum(spec.teachers.values())
        workers["teacher"] = {
            "cls": _Nanny,
            "options": {**options, "nthreads": threads, "resources": spec.teachers},
        }
    return workers


def _restore_environment(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
