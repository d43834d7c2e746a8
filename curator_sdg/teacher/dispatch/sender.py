"""What a dispatcher does on its loop: it sends what waits, as soon as it may be sent, and settles what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

from curator_sdg.config import TeacherSection
from curator_sdg.epoch import Epoch
from curator_sdg.errors import BudgetReached, StoreError, TeacherFailing
from curator_sdg.teacher.base import Answer, Completion, Failure, Outcome, Refusal, Trouble
from curator_sdg.teacher.bill import Bill
from curator_sdg.teacher.dispatch.circuit import Circuit, Patience
from curator_sdg.teacher.dispatch.jobs import Batch, Job, jobs
from curator_sdg.teacher.dispatch.line import Line, pause
from curator_sdg.teacher.dispatch.places import Place, Places
from curator_sdg.teacher.dispatch.rates import Rates
from curator_sdg.teacher.dispatch.teacher import Teacher
from curator_sdg.teacher.journal.usage import Usage
from curator_sdg.teacher.tokens import estimate_messages

_LOOK_EVERY_S = 5.0  # while anything is wanted, whatever it waits for: a newer start, a budget of time
_REPLY_TOKENS = 1024  # of a request that does not say how long its reply may be


class Sender:
    """Sends requests to a teacher. All but the constructor is called on the loop.

    What waits, for its first turn, its next try, a rate, a slot or a place that is well, waits in the line: it holds
    nothing, and no time is counted. A job is taken from there when all that is at hand; whenever that may have
    changed, :meth:`look` is called.

    Args:
        teacher: Opened when there is something to send for the first time.
        config: How much may be asked of it.
        epoch: This start of the run; null outside of one.
        bill: What the run has used and may use.
        fail: Called when nothing can be sent any more, with the reason.
        backoff_s: Upper end of the first pause before a retry, and the first rest of a place.

    Attributes:
        batches: The callers that wait.
        in_flight: Requests that are being answered; several samples that went out as one are one.
        asked: Requests sent for the first time, each sample counted.
        failures: Of these, those that ran out of retries.
        used: What replies and refusals came to.
    """

    def __init__(
        self,
        teacher: Teacher,
        config: TeacherSection,
        epoch: Epoch | None,
        bill: Bill,
        fail: Callable[[Exception], None],
        backoff_s: float,
    ) -> None:
        self.batches: set[Batch] = set()
        self.in_flight = self.asked = self.failures = 0
        self.used = Usage()
        self.line = Line()
        self.places = Places(config.max_in_flight, backoff_s, self._soon)
        self._teacher = teacher
        self._config = config
        self._epoch = epoch
        self._bill = bill
        self._fail = fail
        self._backoff_s = backoff_s
        self._rates = Rates(config) if config.requests_per_minute or config.tokens_per_minute else None
        self._circuit = Circuit(config.max_failure_share, config.max_in_flight)
        self._patience = Patience(config.patience_s)
        self._stopped = False
        self._opening: asyncio.Task[None] | None = None
        self._opened = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Begin, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._bill.listen(self._soon)

    def add(self, batch: Batch) -> None:
        """Send what a caller wants."""
        if not self.line and not self.in_flight:
            self._patience.replied()
        self.batches.add(batch)
        if self._bill.ended is None:  # else it is let go with the others
            self.line.add(jobs(batch, self._config.samples_per_request))
        self.look()

    def look(self) -> None:
        """Send all that may be sent, and see to it that this is done again when more may be."""
        if self._stopped:
            return
        try:
            self._send_all()
        except Exception as error:  # noqa: BLE001 - whatever it is, callers wait in other threads and must hear of it
            self._fail(error)

    def stop(self) -> None:
        """Send nothing more, and drop what is in flight."""
        self._stopped = True
        self._bill.forget(self._soon)
        self.line.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in [*self._tasks, *filter(None, [self._opening])]:
            if task is not asyncio.current_task():
                task.cancel()

    async def close(self) -> None:
        """Wait for what was dropped, and close the teacher."""
        await asyncio.gather(*self._tasks, *filter(None, [self._opening]), return_exceptions=True)
        await self._teacher.close()

    def _soon(self) -> None:
        """Look soon; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self.look)

    def _send_all(self) -> None:
        now, again = self._loop.time(), None
        if self._epoch is not None and (self.line or self.in_flight):
            self._epoch.check()
        while self._may_send and self._may_ask(now):
            if not self._opened:
                self._opening = self._opening or self._loop.create_task(self._open())
                break
            again = self._send_first(now)
            if again is not None:
                break
        if (ended := self._bill.ended) is not None:
            self.line.clear()
            # Not before the others' replies are kept: once one caller hears of the end, the whole run stops.
            if self._bill.over:
                self._fail(ended)
        elif self.line or self.in_flight:
            # With all slots taken there is nothing that patience could end.
            times = (now + _LOOK_EVERY_S, again, self._patience.ends_at if self._may_send else None)
            self._look_at(min(at for at in times if at is not None))

    @property
    def _may_send(self) -> bool:
        return bool(self.line) and self.in_flight < self._config.max_in_flight

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.look()

    async def _open(self) -> None:
        try:
            await self._teacher.open(self.places)
        except Exception as error:  # noqa: BLE001 - see look()
            self._fail(error)
        else:
            self._opened = True
            self.look()

    def _may_ask(self, now: float) -> bool:
        """Return whether one more request may be sent now; where none ever may be, begin to end."""
        wall = time.time()
        if self._bill.ended is not None:
            return False
        if reason := self._bill.reached(wall):
            self._bill.end(BudgetReached(reason))
        elif reason := self._circuit.broken() or self._patience.over(now) or self.places.over:
            self._bill.end(TeacherFailing(f"teacher {self._config.model}: {reason}"))
        else:
            return not self._bill.nearly(wall)
        return False

    def _send_first(self, now: float) -> float | None:
        """Send the job whose turn it is; or return when to look again."""
        job = self.line.first(now)
        if job is None:
            return self.line.due()
        if job.batch.abandoned:
            self.batches.discard(self.line.take(now).batch)
            return None
        tokens = self._tokens(job)
        if self._rates is not None and (wait := self._rates.wait(tokens, now)):
            return now + wait
        place = self.places.choose(now)
        if place is None:
            if not self.places:
                self._patience.troubled(Trouble("connection", self.places.lack), "", now)
            return self.places.opens_at(now) or now + _LOOK_EVERY_S  # an answer makes it look earlier
        self.line.take(now)
        if self._rates is not None:
            self._rates.take(tokens, now)
        if not job.sent:
            job.sent = True
            self.asked += len(job.requests)
        self._depart(job)
        task = self._loop.create_task(self._try(job, place, place.take(), tokens))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._ended(job, task))
        return None

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # perhaps before it began
            self._arrive(job, ())

    def _depart(self, job: Job) -> None:
        """Count a job as in flight."""
        job.in_flight = True
        self.in_flight += 1
        for request in job.requests:
            self._bill.sent(request.model)

    def _arrive(self, job: Job, outcomes: Sequence[Completion | Refusal]) -> None:
        """Count a job as in flight no more, with what came of it; once."""
        if job.in_flight:
            job.in_flight = False
            self.in_flight -= 1
            for i, request in enumerate(job.requests):
                self._bill.settled(request.model, outcomes[i : i + 1])

    def _tokens(self, job: Job) -> float:
        """Return about how many tokens a job comes to, where that matters."""
        if self._rates is None or not self._rates.counts_tokens:
            return 0.0
        request = job.requests[0]
        if job.prompt_tokens is None:
            job.prompt_tokens = estimate_messages(request.messages)
        if counted := self.used.replies - self.used.uncounted:
            reply = self.used.completion_tokens / counted
        else:
            most = (request.sampling.get(name) for name in ("max_tokens", "max_completion_tokens"))
            reply = next(filter(None, most), _REPLY_TOKENS)
        return job.prompt_tokens + reply * len(job.requests)

    async def _try(self, job: Job, place: Place, number: int, tokens: float) -> None:
        try:
            answer = await self._ask(job, place)
            now = self._loop.time()
            if isinstance(answer, Trouble):
                place.settle(number, answer, now)
                self._patience.troubled(answer, place.name, now)
                self._troubled(job, answer, now)
            else:
                place.settle(number, None, now)
                self._patience.replied()
                self._answered(job, answer, tokens, now)
        except Exception as error:  # noqa: BLE001 - see look()
            self._fail(error)
        else:
            self.look()

    async def _ask(self, job: Job, place: Place) -> Answer:
        answer: Answer = ()
        try:
            answer = await self._teacher.ask(job.requests, place)
            if not isinstance(answer, Trouble):
                self._keep(job, answer)
        finally:
            # Also where it is dropped, for another teacher may share the bill; but not before the replies are kept:
            # once all has settled, a bill that is ended lets everybody go.
            self._arrive(job, () if isinstance(answer, Trouble) else answer)
        return answer

    def _keep(self, job: Job, answer: Sequence[Completion | Refusal]) -> None:
        """Journal what came."""
        # Refusals before any reply may be the parameters' fault; see Dispatcher.complete().
        proven = self.used.replies > 0
        requests = {request.key: request for request in job.requests}
        for outcome in answer:
            if (journal := job.batch.journal) is None or job.batch.abandoned:
                return
            if outcome.key in requests and (proven or isinstance(outcome, Completion)):
                try:
                    journal.append(outcome, requests[outcome.key])
                except StoreError:
                    if not job.batch.abandoned:  # else its caller gave up just now, and closed it
                        raise

    def _troubled(self, job: Job, trouble: Trouble, now: float) -> None:
        job.troubles += 1
        job.tries += trouble.reason != "rate_limit"
        if job.tries > self._config.max_retries:
            detail = f"{trouble.detail} (tried {'once' if job.tries == 1 else f'{job.tries} times'})"
            self.failures += len(job.requests)
            self._settle(job.batch, [Failure(request.key, trouble.reason, detail) for request in job.requests])
        elif self._bill.ended is None:  # else its caller hears of the end
            self.line.again(job, now + pause(job.troubles, trouble.retry_after, self._backoff_s))

    def _answered(self, job: Job, answer: Sequence[Completion | Refusal], tokens: float, now: float) -> None:
        if not answer and len(job.requests) == 1:
            raise AssertionError(f"{type(self._teacher).__name__} gave no outcome for a request")
        before = self.used
        self.used = sum(map(Usage.of, answer), before)
        if self._rates is not None and self.used.uncounted == before.uncounted:
            self._rates.correct(tokens, self.used.tokens - before.tokens, now)
        outcomes = {outcome.key: outcome for outcome in answer}
        settled: list[Completion | Refusal] = []
        for request in job.requests:
            if (outcome := outcomes.get(request.key)) is not None:
                settled.append(outcome)
            elif self._bill.ended is None:
                self.line.again(Job(job.batch, (request,), sent=True), now)
        self._settle(job.batch, settled)

    def _settle(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._circuit.settled(outcome)
            batch.settle(outcome)
        if not batch.left or batch.abandoned:
            self.batches.discard(batch)
