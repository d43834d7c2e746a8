"""How many requests an endpoint is sent at once."""

from __future__ import annotations

from curator_sdg.teacher.base import Trouble
from curator_sdg.teacher.dispatch.limit import Limit

RATE_LIMIT = Trouble("rate_limit", "HTTP 429", overload=True)
OVERLOADED = Trouble("server_error", "HTTP 503", overload=True)
ERROR = Trouble("server_error", "HTTP 500")
TIMEOUT = Trouble("timeout", "")
BROKEN = Trouble("connection", "")


class Client:
    """Keeps so many in flight as it may, or as it wants, and gets its answers in order."""

    def __init__(self, cap: int, wants: int = 1000) -> None:
        self.limit = Limit(cap)
        self.wants = wants
        self.sent = self.answered = 0

    def answer(self, *troubles: Trouble | None) -> int:
        """Have so many requests answered, and return the limit."""
        for trouble in troubles:
            while self.sent - self.answered < min(self.limit.now, self.wants):
                self.sent += 1
                self.limit.sent(self.sent - self.answered)
            self.limit.answered(self.answered, self.sent, trouble)
            self.answered += 1
        return self.limit.now

    def round(self, *troubles: Trouble) -> int:
        """Have a whole round answered, with these troubles at its end."""
        n = self.limit.now
        return self.answer(*[None] * (n - len(troubles)), *troubles)


def test_it_starts_at_its_cap_and_stays_there_while_all_is_well() -> None:
    client = Client(64)
    assert client.limit.now == 64
    assert client.answer(*[None] * 1000) == 64


def test_an_overload_lowers_it_at_once() -> None:
    assert Client(64).answer(RATE_LIMIT) == 54
    assert Client(64).answer(None, OVERLOADED) == 54


def test_it_falls_at_most_once_a_round() -> None:
    client = Client(64)
    assert client.answer(*[RATE_LIMIT] * 64) == 54, "all 64 were sent before it fell"
    assert client.answer(RATE_LIMIT) == 45
    assert client.answer(*[RATE_LIMIT] * 53) == 45
    assert client.answer(RATE_LIMIT) == 38


def test_it_never_falls_below_one() -> None:
    client = Client(4)
    assert client.answer(*[RATE_LIMIT] * 100) == 1
    assert Client(1).answer(RATE_LIMIT, RATE_LIMIT) == 1


def test_one_flaky_answer_in_a_thousand_shrinks_nothing() -> None:
    for cap in (1, 2, 8, 64):
        client = Client(cap)
        for _ in range(10):
            assert client.answer(*[None] * 999, ERROR) == cap


def test_more_than_a_tenth_of_errors_in_a_round_lowers_it_at_its_end() -> None:
    assert Client(64).round(*[ERROR] * 6) == 64
    assert Client(64).round(*[ERROR] * 7) == 54
    assert Client(64).round(*[ERROR] * 4, *[TIMEOUT] * 3) == 54
    client = Client(64)
    assert client.answer(*[ERROR] * 63) == 64
    assert client.answer(None) == 54


def test_a_broken_connection_is_no_sign_of_load() -> None:
    client = Client(64)
    assert client.answer(*[BROKEN] * 1000) == 64


def test_it_rises_by_a_step_a_clean_round_up_to_its_cap() -> None:
    client = Client(64)
    client.answer(*[RATE_LIMIT] * 64)
    seen = [client.round() for _ in range(6)]
    assert seen == [56, 58, 60, 62, 64, 64]


def test_a_small_cap_is_regained_one_by_one() -> None:
    client = Client(4)
    client.answer(*[RATE_LIMIT] * 4)
    assert client.limit.now == 3
    assert [client.round() for _ in range(2)] == [4, 4]


def test_a_round_with_an_error_does_not_raise_it() -> None:
    client = Client(64)
    client.answer(*[RATE_LIMIT] * 64)
    assert client.round(ERROR) == 54
    assert client.round() == 56


def test_it_rises_only_where_it_was_reached() -> None:
    client = Client(64)
    client.answer(RATE_LIMIT)
    client.wants = 53
    assert client.answer(*[None] * 500) == 54
    client.wants = 54
    assert client.answer(*[None] * 108) > 54


def test_another_cap_takes_a_limit_along_that_stood_there() -> None:
    limit = Limit(8)
    limit.recap(16)
    assert (limit.cap, limit.now) == (16, 16)
    limit.answered(0, 1, RATE_LIMIT)
    limit.recap(32)
    assert (limit.cap, limit.now) == (32, 13)
    limit.recap(4)
    assert (limit.cap, limit.now) == (4, 4)
