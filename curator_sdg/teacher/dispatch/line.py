"""Where requests wait: for their first turn in the order in which they came, or for their next try until it is due."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable
from itertools import count

from curator_sdg.teacher.dispatch.jobs import Job

_BACKOFF_MAX_S = 60.0


class Line:
    """Jobs that are to be sent; what waits here holds no slot and no place.

    Attributes:
        fresh: Requests that were never sent.
        waiting: Requests that were, and are to be sent again.
    """

    def __init__(self) -> None:
        self.fresh = self.waiting = 0
        self._new: deque[Job] = deque()
        self._again: list[tuple[float, int, Job]] = []  # a heap, by due time
        self._order = count()  # so that equal times do not compare jobs

    def __bool__(self) -> bool:
        return bool(self._new or self._again)

    def add(self, jobs: Iterable[Job]) -> None:
        """Put fresh jobs at the end."""
        for job in jobs:
            self._new.append(job)
            self.fresh += len(job.requests)

    def again(self, job: Job, due: float) -> None:
        """Have a job sent again from ``due`` on, before all fresh ones."""
        heapq.heappush(self._again, (due, next(self._order), job))
        self.waiting += len(job.requests)

    def due(self) -> float | None:
        """Return when the next of those that wait for their time is due; null where none does."""
        return self._again[0][0] if self._again else None

    def first(self, now: float) -> Job | None:
        """Return the job whose turn it is, and leave it there; null where none is due."""
        if self._again and self._again[0][0] <= now:
            return self._again[0][2]
        return self._new[0] if self._new else None

    def take(self, now: float) -> Job:
        """Remove and return the job that ``first`` returns at the same time."""
        if self._again and self._again[0][0] <= now:
            job = heapq.heappop(self._again)[2]
            self.waiting -= len(job.requests)
        else:
            job = self._new.popleft()
            self.fresh -= len(job.requests)
        return job

    def clear(self) -> None:
        """Forget them all."""
        self._new.clear()
        self._again.clear()
        self.fresh = self.waiting = 0


def pause(troubles: int, retry_after: float, backoff_s: float) -> float:
    """Return seconds before the next try: exponential with full jitter, on top of what the server asks for.

    Full jitter spreads the retries of many clients best: M. Brooker, "Exponential Backoff And Jitter", AWS, 2015.

    Args:
        troubles: How often it went wrong, at least once.
        retry_after: Seconds that the server asks to wait.
        backoff_s: Upper end of the first pause; it doubles with each further one, up to a minute.
    """
    most = min(_BACKOFF_MAX_S, backoff_s * 2 ** min(troubles - 1, 30))
    return retry_after + random.uniform(0, most)  # noqa: S311 - no output depends on it
