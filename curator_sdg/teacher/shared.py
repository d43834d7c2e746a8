"""One dispatcher for all stages of a process that ask the same teacher in the same run, and one bill for all of these.

Curator calls a stage's ``setup`` in every worker, and Dask may hold several stages and threads in one process.
Each acquires the dispatcher in ``setup`` and releases it in ``teardown``; the last one closes it. Dispatchers for
several teachers of one run share a bill, so that a budget is one for all.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curator_sdg.config import TeacherSection
from curator_sdg.epoch import Epoch
from curator_sdg.teacher.bill import Bill
from curator_sdg.teacher.budget import Budget
from curator_sdg.teacher.dispatch.dispatcher import Dispatcher
from curator_sdg.teacher.dispatch.report import Status
from curator_sdg.teacher.dispatch.teacher import Teacher
from curator_sdg.teacher.journal.usage import add_up, journal_usage
from curator_sdg.teacher.recorded import RecordedTeacher

# A run as one process sees it, which belongs to it: a forked child inherits the tables, but not the threads.
_Run = tuple[int, Path | None, Epoch | None, Budget | None]
_Key = tuple[_Run, TeacherSection]


@dataclass
class _Lease:
    key: _Key
    dispatcher: Dispatcher
    bill: Bill
    users: int = 0


_lock = threading.Lock()
_current: dict[_Key, _Lease] = {}
_held: dict[int, _Lease] = {}  # by id of the dispatcher, with those that have stopped but are not released yet


def make_teacher(config: TeacherSection) -> Teacher:
    """Return the teacher that ``config`` describes, not opened yet."""
    if config.engine == "recorded":
        if config.recording is None:  # the configuration's own check rules this out
            raise AssertionError("a recorded teacher without a recording")
        return RecordedTeacher(config.recording)
    # Only those that ask over the network pay for importing aiohttp.
    if config.engine == "vllm":
        from curator_sdg.teacher.servers.vllm import VllmTeacher  # noqa: PLC0415

        return VllmTeacher(config)
    from curator_sdg.teacher.endpoint.endpoint import EndpointTeacher  # noqa: PLC0415

    return EndpointTeacher(config)


def acquire(
    config: TeacherSection,
    epoch: Epoch | None = None,
    *,
    budget: Budget | None = None,
    journal: Path | None = None,
    report: Callable[[Status], None] | None = None,
) -> Dispatcher:
    """Return this process's open dispatcher for the teacher, the start and its budget; release it afterwards.

    Args:
        config: The teacher.
        epoch: The start of the run; null outside of one.
        budget: What the run may use over all starts.
        journal: The run's journal, from which it is counted what was used before, when its first dispatcher here is
            opened; what other processes ask from then on is not seen. Null: nothing was.
        report: See :class:`Dispatcher`; of all who share one, the first one's is called.

    Raises:
        StoreError: If the journal cannot be counted.
    """
    run = (os.getpid(), journal, epoch, budget)
    key = (run, config)
    with _lock:
        lease = _current.get(key)
        if lease is None or lease.dispatcher.stopped:  # a stopped one is of no use to a newcomer
            bill = next((other.bill for other in _held.values() if other.key[0] == run), None)
            if bill is None:
                bill = Bill(budget, None if journal is None else add_up(journal_usage(journal).values()))
            dispatcher = Dispatcher(make_teacher(config), config, epoch, bill=bill, report=report)
            dispatcher.open()
            lease = _current[key] = _held[id(dispatcher)] = _Lease(key, dispatcher, bill)
        lease.users += 1
        return lease.dispatcher


def release(dispatcher: Dispatcher) -> None:
    """Give back a dispatcher; the last one to do so closes it. More often than acquired is fine."""
    with _lock:
        lease = _held.get(id(dispatcher))
        if lease is None:
            return
        lease.users -= 1
        if lease.users:
            return
        del _held[id(dispatcher)]
        if _current.get(lease.key) is lease:
            del _current[lease.key]
    dispatcher.close()
