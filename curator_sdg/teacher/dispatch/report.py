"""How far a dispatcher is, told to whoever wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from loguru import logger

from curator_sdg.teacher.journal.usage import Usage

_EVERY_S = 1.0


class Status(NamedTuple):
    """What a dispatcher has done so far, and how it stands.

    Unless it was stopped, ``asked = replies + failures + refusals + in_flight + waiting``, where no request asks for
    several samples. ``asked`` to ``spent`` only ever grow, so that a rate is the difference of two reports by the time
    between them.
    """

    queued: int  # requests that are to be sent, for the first time or again
    in_flight: int
    asked: int  # sent at least once
    replies: int
    failures: int
    refusals: int
    journalled: int  # answered from a journal, not asked
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    spent: Usage  # over all starts and teachers of the run
    cost: float | None  # of that; null where a price or a count is not known
    waiting: int  # of those queued, sent before; they wait for their next try
    limit: int  # how many may be in flight now, at the endpoints that do not rest; 0 before the first request
    endpoints: int  # that are known
    resting: int  # of these, those that do not answer; they are asked now and then


class Reporter:
    """Calls ``report`` on the loop: about once a second while there is work, and once more when there is none.

    Args:
        report: Called with the figures; must be quick, for nothing is asked meanwhile. What it raises is logged the
            first time, and else ignored: a report is no reason to end a run.
        progress: Returns the figures.
    """

    def __init__(self, report: Callable[[Status], None], progress: Callable[[], Status]) -> None:
        self._report = report
        self._progress = progress
        self._ticking: asyncio.Task[None] | None = None
        self._failed = False

    def wake(self) -> None:
        """Begin to report, unless it does."""
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.get_running_loop().create_task(self._tick())

    def tell(self) -> None:
        """Report now."""
        try:
            self._report(self._progress())
        except Exception:  # noqa: BLE001 - see the class
            if not self._failed:
                logger.exception("the teacher's progress could not be reported; the run goes on")
            self._failed = True

    async def _tick(self) -> None:
        busy = True
        while busy:
            await asyncio.sleep(_EVERY_S)
            progress = self._progress()
            busy = bool(progress.queued or progress.in_flight)
            self.tell()
