"""Stages for the tests; a module of their own because spawned workers import them."""

import copy
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.stages.resources import Resources
from nemo_curator.tasks import DocumentBatch, EmptyTask

from curator_sdg.errors import TeacherError


def batch(number: int, rows: int = 2) -> DocumentBatch:
    data = pd.DataFrame({"number": [number] * rows, "text": [f"text {number} {row}" for row in range(rows)]})
    return DocumentBatch(dataset_name="test", data=data)


def numbers(tasks: list[DocumentBatch]) -> list[int]:
    return [int(task.to_pandas()["number"].iloc[0]) for task in tasks]


@dataclass
class Make(ProcessingStage[EmptyTask, DocumentBatch]):
    """Source of ``count`` batches."""

    count: int = 4
    name: str = "make"

    def process(self, task: EmptyTask) -> list[DocumentBatch]:
        return [batch(number) for number in range(self.count)]


@dataclass
class Add(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Changes its input in place, as Curator's own stages do."""

    name: str = "add"
    amount: int = 1
    batch_size: int = 1
    resources: Resources = field(default_factory=Resources)

    def process(self, task: DocumentBatch) -> DocumentBatch:
        task.data["number"] += self.amount
        task._metadata.setdefault("seen", []).append(self.name)
        return task


@dataclass
class DropOdd(ProcessingStage[DocumentBatch, DocumentBatch]):
    name: str = "drop_odd"

    def process(self, task: DocumentBatch) -> DocumentBatch | None:
        return None if numbers([task])[0] % 2 else task


@dataclass
class Split(ProcessingStage[DocumentBatch, DocumentBatch]):
    """One task per row."""

    name: str = "split"

    def process(self, task: DocumentBatch) -> list[DocumentBatch]:
        return [
            DocumentBatch(
                dataset_name=task.dataset_name,
                data=task.data.iloc[[row]].copy(),
                _metadata=copy.deepcopy(task._metadata),
                _stage_perf=list(task._stage_perf),
            )
            for row in range(len(task.data))
        ]


@dataclass
class SlowFirst(ProcessingStage[DocumentBatch, DocumentBatch]):
    name: str = "slow_first"

    def process(self, task: DocumentBatch) -> DocumentBatch:
        time.sleep(0.3 if numbers([task])[0] == 0 else 0)
        return task


@dataclass
class Together(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Notes which numbers came in the same batch."""

    name: str = "together"
    batch_size: int = 3

    def process(self, task: DocumentBatch) -> DocumentBatch:
        raise NotImplementedError

    def process_batch(self, tasks: list[DocumentBatch]) -> list[DocumentBatch]:
        for task in tasks:
            task._metadata["together"] = numbers(tasks)
        return tasks


@dataclass
class Fail(ProcessingStage[DocumentBatch, DocumentBatch]):
    name: str = "fail"
    kind: str = "bug"
    on: int = 1

    def process(self, task: DocumentBatch) -> DocumentBatch:
        if numbers([task])[0] != self.on:
            return task

        class LocalError(Exception):
            """Cannot be unpickled anywhere else."""

            def __init__(self, one: str, two: threading.Lock):
                super().__init__(one, two)

        if self.kind == "user":
            raise TeacherError("The teacher's key is wrong.") from LocalError("odd", threading.Lock())

        raise LocalError("odd", threading.Lock())


@dataclass
class Where(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Notes the process, the thread and what is imported and set where the stage runs."""

    name: str = "where"
    dask_resources: dict[str, float] | None = None

    def process(self, task: DocumentBatch) -> DocumentBatch:
        ray = sys.modules.get("ray")
        task._metadata[self.name] = {
            "pid": os.getpid(),
            "thread": threading.get_ident(),
            "hash": hash("a fixed seed"),
            "ray_started": ray is not None and ray.is_initialized(),
            "slurm": os.environ.get("NEMO_CURATOR_SLURM_ARRAY_ENABLED"),
        }
        return task


_barriers: dict[str, threading.Barrier] = {}
_barriers_lock = threading.Lock()


@dataclass
class Meet(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Returns only once ``parties`` tasks are in it at the same time, in one process."""

    token: str
    parties: int = 4
    name: str = "meet"
    dask_resources: dict[str, float] = field(default_factory=lambda: {"TEACHER": 1.0})

    def process(self, task: DocumentBatch) -> DocumentBatch:
        with _barriers_lock:
            barrier = _barriers.setdefault(self.token, threading.Barrier(self.parties))
        barrier.wait(timeout=60)
        task._metadata["pid"] = os.getpid()
        return task


_inside: set[int] = set()


@dataclass
class Crowd(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Notes how many tasks were in it at the same time."""

    name: str = "crowd"
    dask_resources: dict[str, float] = field(default_factory=lambda: {"TEACHER": 1.0})

    def process(self, task: DocumentBatch) -> DocumentBatch:
        _inside.add(threading.get_ident())
        time.sleep(0.05)
        task._metadata["crowd"] = len(_inside)
        _inside.discard(threading.get_ident())
        return task


@dataclass
class Logged(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Leaves one file per call of a lifecycle method: ``<method>-<pid>-<thread>-<serial>``."""

    directory: str
    name: str = "logged"
    fail_setup: bool = False
    fail_teardown: bool = False
    dask_resources: dict[str, float] | None = None

    def _log(self, what: str) -> None:
        stem = f"{what}-{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}"
        Path(self.directory, stem).touch()

    def setup_on_node(self, node_info: Any = None, worker_metadata: Any = None) -> None:
        self._log("node")

    def setup(self, worker_metadata: Any = None) -> None:
        if self.fail_setup:
            raise TeacherError("No such model.")
        self._log("setup")

    def process(self, task: DocumentBatch) -> DocumentBatch:
        self._log("process")
        return task

    def teardown(self) -> None:
        self._log("teardown")
        if self.fail_teardown:
            raise OSError("disk full")


@dataclass
class KillOnce(ProcessingStage[DocumentBatch, DocumentBatch]):
    """The first process to reach number ``on`` is killed the hard way."""

    marker: str
    on: int = 7
    name: str = "kill_once"

    def process(self, task: DocumentBatch) -> DocumentBatch:
        if numbers([task])[0] == self.on:
            try:
                os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return task
            os.kill(os.getpid(), signal.SIGKILL)
        return task


@dataclass
class Hang(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Says that it runs, then sleeps longer than any test waits."""

    marker: str
    name: str = "hang"

    def process(self, task: DocumentBatch) -> DocumentBatch:
        Path(self.marker).write_text(str(os.getpid()))
        time.sleep(600)
        return task


@dataclass
class Big(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Leaves one file per task."""

    directory: str
    name: str = "big"

    def process(self, task: DocumentBatch) -> DocumentBatch:
        Path(self.directory, f"{self.name}-{task.task_id}").touch()
        return task


@dataclass
class CountBig(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Notes how far the stage before has got ahead."""

    directory: str
    name: str = "count_big"
    dask_resources: dict[str, float] = field(default_factory=lambda: {"TEACHER": 4.0})

    def process(self, task: DocumentBatch) -> DocumentBatch:
        time.sleep(0.05)
        Path(self.directory, f"{self.name}-{task.task_id}").touch()
        made = len(list(Path(self.directory).glob("big-*")))
        taken = len(list(Path(self.directory).glob("count_big-*")))
        task._metadata["ahead"] = made - taken
        return task


@dataclass
class Unpicklable(ProcessingStage[DocumentBatch, DocumentBatch]):
    lock: Any = field(default_factory=threading.Lock)
    name: str = "unpicklable"

    def process(self, task: DocumentBatch) -> DocumentBatch:
        return task
