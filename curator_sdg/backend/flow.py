"""The driver's side of a pipeline run: which group takes which input next, and in what order results come back.

Tasks stay on the workers; the driver holds a future for each group output and, where outputs spread (fan-out,
batches), their number. Every item carries its lineage, the path of positions from its initial task, and everything is
ordered by it: inputs of a group, the composition of batches, the final results. So output never depends on timing.
"""

from __future__ import annotations

import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any
from weakref import WeakValueDictionary

from distributed import Client, Future
from distributed.scheduler import KilledWorker, NoValidWorkerError
from nemo_curator.tasks import Task

from curator_sdg.backend.plan import Group
from curator_sdg.backend.worker import run_group
from curator_sdg.errors import SdgError

Lineage = tuple[int, ...]


def counted(groups: Sequence[Group], position: int) -> bool:
    """Whether the number of outputs of the group at ``position`` matters to what follows."""
    if position == len(groups) - 1:
        return False
    group, following = groups[position], groups[position + 1]
    return group.fans_out or group.batch_size > 1 or following.batch_size > 1


@dataclass(order=True)
class _Item:
    """Something a group can take: a list of tasks, on a worker or not yet sent, or one of its elements."""

    lineage: Lineage
    source: Future | list[Task[Any]] = field(compare=False)
    pick: int | None = field(compare=False, default=None)


@dataclass
class _Running:
    lineage: Lineage
    future: Future
    finished: bool = False
    outputs: int | None = None


@dataclass
class _Level:
    """One group's place in the flow."""

    group: Group
    limit: int
    counted: bool
    waiting: list[_Item] = field(default_factory=list)
    """A heap of items not yet known to be next in line; only used where items are batched."""
    ready: list[tuple[Lineage, list[_Item]]] = field(default_factory=list)
    """A heap of inputs that could start now."""
    running: dict[str, _Running] = field(default_factory=dict)
    batch: deque[_Item] = field(default_factory=deque)

    def first(self) -> Lineage | None:
        """The least lineage that is somewhere in this level."""
        heads = [run.lineage for run in self.running.values()]
        heads += [self.ready[0][0]] if self.ready else []
        heads += [self.batch[0].lineage] if self.batch else []
        heads += [self.waiting[0].lineage] if self.waiting else []
        return min(heads, default=None)


class Flow:
    """Feeds a planned pipeline to a cluster and collects what comes out."""

    def __init__(self, client: Client, run_id: str, groups: Sequence[Group], limits: Sequence[int]):
        """Prepare a flow.

        Args:
            client: The cluster; the run's plugin is on its workers.
            run_id: Prefix of all Dask keys and the topic on which output counts arrive.
            groups: The plan.
            limits: For each group, how many of its tasks may be in flight.
        """
        self._client = client
        self._run_id = run_id
        self._levels = [
            _Level(group, limit, counted(groups, at))
            for at, (group, limit) in enumerate(zip(groups, limits, strict=True))
        ]
        self._events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._level_of: dict[str, int] = {}
        self._futures: WeakValueDictionary[str, Future] = WeakValueDictionary()

    def results(
        self, initial: Sequence[Task[Any]], on_task_done: Callable[[Task[Any]], None] | None
    ) -> list[Task[Any]]:
        """Run everything; returns the last group's outputs in lineage order.

        Raises:
            SdgError: A stage raised it, or the cluster lost what it was working on.
            StageError: A stage raised anything else.
        """
        done: list[tuple[Lineage, list[Task[Any]]]] = []
        self._client.subscribe_topic(self._run_id, lambda event: self._events.put(("count", event[1])))
        try:
            for at, task in enumerate(initial):
                self._offer(0, _Item((at,), [task]))
            while self._advance():
                finished = [run for run in self._take_events() if run is not None]
                outputs = self._client.gather([run.future for run in finished]) if finished else []
                for run, tasks in zip(finished, outputs, strict=True):
                    done.append((run.lineage, tasks))
                    if on_task_done is not None:
                        for task in tasks:
                            on_task_done(task)
        finally:
            self._client.unsubscribe_topic(self._run_id)
        done.sort(key=lambda pair: pair[0])
        return [task for _, tasks in done for task in tasks]

    def cancel(self) -> None:
        """Forget everything, so that nothing more starts; calls already running on workers end by themselves.

        Finished work is let go too: a traceback may keep it alive, and a later death of its worker would repeat it.
        ``Client.cancel`` is not for this: it breaks the scheduler's stream of this client where a key has dependents
        that nobody holds any more (``assert ts.who_wants``, distributed 2026.7).
        """
        for future in list(self._futures.values()):
            future.release()

    def _advance(self) -> bool:
        """Submit what may start, the last groups first; False once nothing is left anywhere."""
        for at in reversed(range(len(self._levels))):
            self._batch(at)
            level = self._levels[at]
            below = self._levels[at + 1] if at + 1 < len(self._levels) else None
            while (
                level.ready
                and len(level.running) < level.limit
                # What the next group has not started yet occupies the workers' memory.
                and (below is None or len(below.ready) < below.limit)
            ):
                self._submit(at, *heapq.heappop(level.ready))
        return any(level.running for level in self._levels)

    def _submit(self, at: int, lineage: Lineage, items: list[_Item]) -> None:
        level = self._levels[at]
        key = f"{level.group.name}-{self._run_id}-{at}-{'.'.join(map(str, lineage))}"
        future = self._client.submit(
            run_group,
            self._run_id,
            at,
            key,
            [item.source for item in items],
            [item.pick for item in items],
            key=key,
            pure=False,
            resources=level.group.resources,
            # Downstream first: finish what is begun before opening more.
            priority=at,
        )
        level.running[key] = _Running(lineage, future)
        self._level_of[key] = at
        self._futures[key] = future
        future.add_done_callback(lambda done: self._events.put(("done", done.key)))

    def _take_events(self) -> Iterator[_Running | None]:
        """Wait for news and handle all there is; yields what the last group has finished."""
        while True:
            kind, what = self._next_event()
            key = what if kind == "done" else what["key"]
            level = self._levels[self._level_of[key]]
            run = level.running.get(key)
            if run is not None:  # else: told again by a worker that repeated lost work
                if kind == "done":
                    self._check(run.future, level.group)
                    run.finished = True
                else:
                    run.outputs = what["outputs"]
                if run.finished and (run.outputs is not None or not level.counted):
                    del level.running[key]
                    yield self._pass_on(self._level_of[key], run)
            if self._events.empty():
                return

    def _next_event(self) -> tuple[str, Any]:
        while True:
            # A wait without end cannot be interrupted where another thread got the signal.
            with contextlib.suppress(Empty):
                return self._events.get(timeout=0.5)

    def _pass_on(self, at: int, run: _Running) -> _Running | None:
        """Offer a finished task's outputs to the next group; gives it back where there is none."""
        if at + 1 == len(self._levels):
            return run
        if run.outputs is None:
            self._offer(at + 1, _Item(run.lineage, run.future))
        else:
            for pick in range(run.outputs):
                self._offer(at + 1, _Item((*run.lineage, pick), run.future, pick))
        return None

    def _offer(self, at: int, item: _Item) -> None:
        level = self._levels[at]
        if level.group.batch_size == 1:
            heapq.heappush(level.ready, (item.lineage, [item]))
        else:
            heapq.heappush(level.waiting, item)

    def _batch(self, at: int) -> None:
        """Form the batches whose composition can no longer change: nothing upstream may still come before."""
        level = self._levels[at]
        size = level.group.batch_size
        if size == 1:
            return
        upstream = [first for above in self._levels[:at] if (first := above.first()) is not None]
        frontier = min(upstream, default=None)
        while level.waiting and (frontier is None or level.waiting[0].lineage < frontier):
            level.batch.append(heapq.heappop(level.waiting))
        while len(level.batch) >= size or (level.batch and frontier is None):
            items = [level.batch.popleft() for _ in range(min(size, len(level.batch)))]
            heapq.heappush(level.ready, (items[0].lineage, items))

    def _check(self, future: Future, group: Group) -> None:
        if future.status == "error":
            error = future.exception()
            if isinstance(error, (KilledWorker, NoValidWorkerError)):
                raise SdgError(f"The workers that ran {group.name!r} died, most often for want of memory. {error}")
            raise error
        if future.status in {"cancelled", "lost"}:
            raise SdgError(
                f"The cluster dropped work of {group.name!r}: the scheduler is gone, or somebody cancelled its tasks."
            )
