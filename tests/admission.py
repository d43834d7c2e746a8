"""How much a server takes on: one that queues, as vLLM does, and one that refuses, as a paid endpoint does."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator

from aiohttp import web

from tests.faults import error

_WINDOW_S = 1.0  # a limit a minute is kept by the second, as OpenAI's are


class Admission:
    """Lets requests in, and counts those that are worked on.

    Args:
        slots: So many are worked on at once; the others wait in the order in which they came. 0: all at once.
        capacity: Beyond so many in flight, waiting or worked on, a request is refused with 429. 0: none is.
        requests_per_minute: Beyond this share of it within a second, a request is refused with 429 and Retry-After.
            0: none is.
    """

    def __init__(self, slots: int = 0, capacity: int = 0, requests_per_minute: int = 0) -> None:
        self._slots = asyncio.Semaphore(slots) if slots else contextlib.nullcontext()
        self._capacity = capacity
        self._a_window = requests_per_minute * _WINDOW_S / 60
        self._window, self._taken = 0, 0  # the second it is, and the requests that were let in during it
        self._inside = 0
        self.working = self.max_working = 0
        self.busy_s = 0.0  # summed over the requests that were worked on

    def refusal(self) -> tuple[str, web.Response] | None:
        """Return the name of the limit that the request which has just come would break, and its answer."""
        now = time.monotonic()
        if int(now / _WINDOW_S) != self._window:
            self._window, self._taken = int(now / _WINDOW_S), 0
        if self._a_window and self._taken >= max(1, self._a_window):
            wait = math.ceil((self._window + 1) * _WINDOW_S - now)
            return "requests_per_minute", error(429, "too many a minute", headers={"Retry-After": str(wait)})
        if self._capacity and self._inside >= self._capacity:
            return "capacity", error(429, "too many at once")
        self._taken += 1
        return None

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a slot and work in it."""
        self._inside += 1
        try:
            async with self._slots:
                self.working += 1
                self.max_working = max(self.max_working, self.working)
                begun = time.monotonic()
                try:
                    yield
                finally:
                    self.working -= 1
                    self.busy_s += time.monotonic() - begun
        finally:
            self._inside -= 1
