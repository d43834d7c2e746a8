"""One place through which a process asks its teacher: a thread with an event loop, and one cap for all callers.

Callers block in :meth:`Dispatcher.complete`, each in its own thread; what they ask for joins one line. A request waits
there, not in the teacher, and a slow reply, or one that has to be asked for again, holds up nobody else. What happens
on the loop is in :mod:`.sender`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from curator_sdg.config import TeacherSection
from curator_sdg.epoch import Epoch
from curator_sdg.errors import AskingEnded, TeacherError
from curator_sdg.teacher.base import Outcome, Request
from curator_sdg.teacher.bill import Bill
from curator_sdg.teacher.dispatch.jobs import Batch
from curator_sdg.teacher.dispatch.report import Reporter, Status
from curator_sdg.teacher.dispatch.sender import Sender
from curator_sdg.teacher.dispatch.teacher import Teacher
from curator_sdg.teacher.journal.shard import ShardJournal

_BACKOFF_S = 0.5
_CLOSE_WITHIN_S = 5.0


class Dispatcher:
    """Asks one teacher on behalf of any number of threads.

    The asking ends, and every caller that still needs a reply hears why, when the budget is reached, when too many of
    the latest requests ran out of retries, or when no reply has come for too long (see :class:`.circuit.Circuit` and
    :class:`.circuit.Patience`). No further request is sent then; what is in flight may have been paid for, so it is
    waited for and journalled, however long that takes, before any caller is let go. While tokens or cost come close,
    as much waits in the line as might be too much; see :class:`.bill.Bill`.

    A request that goes wrong is tried again up to ``max_retries`` times. Rate limits are no failures: they use up no
    retry.

    Args:
        teacher: Opened, asked and closed on the dispatcher's own loop.
        config: How much may be asked of it.
        epoch: This start of the run; a newer one stops the asking. Null where there is no run directory.
        bill: What the run has used and may use; null: anything.
        report: Called on the dispatcher's loop, with cumulative figures: about once a second while there is anything
            to ask, once more when there is not, and before the callers are let go when it stops.
        backoff_s: Upper end of the first pause before a retry; it doubles with every further one. So long does a
            server rest at first that does not answer.
    """

    def __init__(
        self,
        teacher: Teacher,
        config: TeacherSection,
        epoch: Epoch | None = None,
        *,
        bill: Bill | None = None,
        report: Callable[[Status], None] | None = None,
        backoff_s: float = _BACKOFF_S,
    ) -> None:
        self._bill = bill or Bill()
        self._sender = Sender(teacher, config, epoch, self._bill, self._stop, backoff_s)
        self._reporter = Reporter(report, lambda: self.progress) if report is not None else None
        self._journalled = 0
        self._error: Exception | None = None
        self._lock = threading.Lock()  # holds a submission and the stop apart
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main_task: asyncio.Task[None] | None = None
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="curator-sdg-teacher", daemon=True)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def stopped(self) -> bool:
        """Whether it asks no more, closed or for an error."""
        return self._error is not None

    @property
    def progress(self) -> Status:
        """The figures right now."""
        sender, used = self._sender, self._sender.used
        line, places = sender.line, sender.places
        return Status(
            queued=line.fresh + line.waiting,
            in_flight=sender.in_flight,
            asked=sender.asked,
            replies=used.replies,
            failures=sender.failures,
            refusals=used.refusals,
            journalled=self._journalled,
            prompt_tokens=used.prompt_tokens,
            cached_tokens=used.cached_tokens,
            completion_tokens=used.completion_tokens,
            spent=self._bill.spent,
            cost=self._bill.cost,
            waiting=line.waiting,
            limit=places.limit,
            endpoints=len(places),
            resting=places.resting,
        )

    def open(self) -> None:
        """Start the thread.

        The teacher is opened by the first request: what the journal knows needs no server, which may be long gone.
        """
        self._thread.start()
        try:
            self._opened.result()
        except BaseException:  # an interrupt too: the thread must not go on without an owner
            self.close()
            raise

    def complete(self, requests: Sequence[Request], journal: ShardJournal | None = None) -> list[Outcome]:
        """Return an outcome for each request, in their order; blocks, and may be called from many threads at once.

        What the journal knows is not asked. Everything else is journalled before it is returned, but failures, and
        refusals as long as nothing ever succeeded: these may be the parameters' fault, not the records'. Requests
        of one call with the same key are asked once.

        Raises:
            TeacherError: If the teacher cannot be used, or was closed meanwhile; for every caller.
            Superseded: If a newer start of the run has taken over; for every caller.
            AskingEnded: If nothing more may be asked; for every caller that still needs a reply.
            StoreError: If a reply cannot be journalled; for every caller.
        """
        future = self.submit(requests, journal)
        try:
            return future.result()
        finally:
            future.cancel()  # an interrupted caller may close its journal: ask no more for it

    def submit(self, requests: Sequence[Request], journal: ShardJournal | None = None) -> Future[list[Outcome]]:
        """Return at once what :meth:`complete` waits for; who cancels it wants no more of the outcomes.

        Raises:
            TeacherError, Superseded, AskingEnded, StoreError: If it has stopped already; see :meth:`complete`.
        """
        known: dict[str, Outcome] = {}
        to_ask: dict[str, Request] = {}
        for request in requests:
            found = journal.get(request.key) if journal is not None else None
            if found is None:
                to_ask[request.key] = request
            else:
                known[request.key] = found
        batch = Batch([request.key for request in requests], known, list(to_ask.values()), journal)
        with self._lock:
            self._journalled += len(known)
            if self._error is not None and (to_ask or not isinstance(self._error, AskingEnded)):
                raise self._error
            if self._loop is None:
                raise TeacherError("the teacher was asked before it was opened")
            if to_ask:
                self._loop.call_soon_threadsafe(self._enqueue, batch)
        return batch.done

    def close(self) -> None:
        """Stop asking, drop what is in flight, and let every caller go with an error; returns within seconds."""
        with self._lock:
            if self._error is None:
                self._error = TeacherError("the teacher was closed while it was asked; run the same command again")
            # Until the loop is there, _main looks at the error itself.
            if self._loop is not None and self._main_task is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._main_task.cancel)
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_WITHIN_S)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        with self._lock:
            self._loop, self._main_task = asyncio.get_running_loop(), asyncio.current_task()
            error = self._error
        try:
            if error is None:
                self._sender.start()
                self._opened.set_result(None)
                await asyncio.Event().wait()  # until close() cancels
        except asyncio.CancelledError:
            pass
        except Exception as caught:  # noqa: BLE001 - handed to the thread that waits in open()
            error = caught
        finally:
            with self._lock:
                self._main_task = None  # a second close() must not cancel what follows
            self._stop(error or TeacherError("the teacher was closed"))
            try:
                await self._sender.close()
            finally:
                if not self._opened.done():
                    self._opened.set_exception(self._error or TeacherError("the teacher was closed"))

    def _enqueue(self, batch: Batch) -> None:
        if self._error is not None:  # it stopped after the caller looked
            batch.let_go(self._error)
            return
        if self._reporter is not None:
            self._reporter.wake()
        self._sender.add(batch)

    def _stop(self, error: Exception) -> None:
        """Let every caller go with ``error``, or with the one that came first; on the loop."""
        with self._lock:
            self._error = error = self._error or error
        self._sender.stop()
        if self._reporter is not None:
            self._reporter.tell()
        for batch in self._sender.batches:
            batch.let_go(error)
        self._sender.batches.clear()
