"""What callers wait for, and what of it goes out as one request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from curator_sdg.teacher.base import Outcome, Request
from curator_sdg.teacher.journal.shard import ShardJournal


class Batch:
    """What one caller waits for; touched on the dispatcher's loop alone once it is queued.

    Args:
        wanted: The keys of all that it wants, in its order, and as often as it wants them.
        known: What of these is known already, by key.
        requests: The others, each once.
        journal: Where their replies are kept.

    Attributes:
        done: Ends with the outcomes, in the order of ``wanted``, or with an error; whoever does not want them any
            more cancels it.
    """

    def __init__(
        self,
        wanted: Sequence[str],
        known: Mapping[str, Outcome],
        requests: Sequence[Request],
        journal: ShardJournal | None,
    ) -> None:
        self.requests = requests
        self.journal = journal
        self.left = len(requests)
        self.done: Future[list[Outcome]] = Future()
        self._wanted = wanted
        self._outcomes = dict(known)
        if not requests:
            self._end()

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits any more; the journal may be closed then."""
        return self.done.cancelled()

    def settle(self, outcome: Outcome) -> None:
        """Take an outcome; the last one lets the caller go."""
        self._outcomes[outcome.key] = outcome
        self.left -= 1
        if not self.left:
            self._end()

    def let_go(self, error: Exception) -> None:
        """Let the caller go without its outcomes."""
        if self.done.set_running_or_notify_cancel():
            self.done.set_exception(error)

    def _end(self) -> None:
        if self.done.set_running_or_notify_cancel():
            self.done.set_result([self._outcomes[key] for key in self._wanted])


class Job:
    """Requests that go out as one, and how often that was tried.

    Attributes:
        batch: To which they belong.
        requests: One, or several samples of one prompt.
        sent: Whether they ever were.
        in_flight: Whether they are being answered.
        tries: That went wrong and count; rate limits do not.
        troubles: That went wrong.
        prompt_tokens: By estimate; null where nobody has asked yet.
    """

    __slots__ = ("batch", "in_flight", "prompt_tokens", "requests", "sent", "tries", "troubles")

    def __init__(self, batch: Batch, requests: Sequence[Request], *, sent: bool = False) -> None:
        self.batch = batch
        self.requests = requests
        self.sent = sent
        self.in_flight = False
        self.tries = self.troubles = 0
        self.prompt_tokens: int | None = None


def jobs(batch: Batch, samples: int) -> list[Job]:
    """Cut a batch into jobs of at most so many samples of one prompt, in the order of the requests."""
    if samples == 1:
        return [Job(batch, (request,)) for request in batch.requests]
    found: list[list[Request]] = []
    open_: defaultdict[tuple[str, str, int, int], list[list[Request]]] = defaultdict(list)  # those with room
    for request in batch.requests:
        near = open_[request.record_id, request.step, request.repair, request.retry]
        group = next((group for group in near if _alike(group[0], request)), None)
        if group is None:
            group = []
            near.append(group)
            found.append(group)
        group.append(request)
        if len(group) == samples:
            near.remove(group)
    return [Job(batch, group) for group in found]


def _alike(one: Request, other: Request) -> bool:
    """Whether the two differ in their sample alone; their records, steps and turns are the same."""
    return (
        one.messages == other.messages
        and one.sampling == other.sampling
        and (one.model, one.revision, one.structured) == (other.model, other.revision, other.structured)
        and one.schema == other.schema
    )
