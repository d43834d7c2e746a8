"""How many requests a server takes at once, found out by asking: the window of a congestion control."""

from __future__ import annotations

from curator_sdg.teacher.base import Trouble

_DECREASE = 0.85
_STEPS = 32  # from nothing to the cap in so many rounds
_SHARE = 10  # one in so many answers may be an error, and the limit stays


class Limit:
    """A number of requests in flight that starts at its cap and adapts: it falls by a factor and rises by a step.

    With this rule, as TCP has it, several clients of one server arrive at fair shares of what it can do (D.-M. Chiu,
    R. Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989).
    The factor 0.85 gives up less than TCP's half or CUBIC's 0.7 (RFC 9438, 4.6), for here a refusal costs one small
    answer and not a queue that overflowed: at a server that refuses beyond 40 of 128, 0.89 of what can be had instead
    of 0.82, for 0.17 refusals a reply instead of 0.09 (``tests/benchmarks/bench_endpoints.py``).

    A *round* is as many answers as the limit, counting only requests that were sent after the last decrease: what was
    sent before it says nothing about what it achieved (RFC 6582, NewReno's ``recover``). So it falls at most once a
    round:

    * at once, when the server says that it is overloaded (429, 503, 529);
    * at the end of a round of which more than a tenth, and more than one answer, were other server errors or timeouts.
      One flaky answer is no sign of load, nor is a broken connection or a reply that is none.

    It rises by a 32nd of the cap after a round without either, and only where the limit was reached in it: what was
    not tried is not known to work (RFC 7661).

    Args:
        cap: Where it starts, and what it never exceeds; at least 1.
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.now = cap
        self._since = 0  # the first request that was sent after the last decrease
        self._answers = self._errors = 0
        self._reached = False

    def recap(self, cap: int) -> None:
        """Set another cap, up or down; a limit that stood at the old one goes along."""
        self.now = cap if self.now == self.cap else min(self.now, cap)
        self.cap = cap

    def sent(self, in_flight: int) -> None:
        """Note that a request was sent.

        Args:
            in_flight: Requests in flight with it.
        """
        if in_flight >= self.now:
            self._reached = True

    def answered(self, number: int, sent: int, trouble: Trouble | None) -> None:
        """Note what became of a request.

        Args:
            number: How many were sent before it.
            sent: How many have been sent by now.
            trouble: Null for an answer, whatever it says.
        """
        if number < self._since:
            return
        self._answers += 1
        if trouble is not None and trouble.overload:
            self._fall(sent)
            return
        self._errors += trouble is not None and trouble.reason in ("server_error", "timeout")
        if self._answers < self.now:
            return
        if self._errors > 1 and self._errors * _SHARE > self._answers:
            self._fall(sent)
            return
        if not self._errors and self._reached:
            self.now = min(self.cap, self.now + max(1, self.cap // _STEPS))
        self._begin()

    def _fall(self, sent: int) -> None:
        self.now = max(1, int(self.now * _DECREASE))
        self._since = sent
        self._begin()

    def _begin(self) -> None:
        self._answers = self._errors = 0
        self._reached = False
