"""Which endpoint is asked next, and which rests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loguru import logger

from curator_sdg.teacher.base import Trouble
from curator_sdg.teacher.dispatch.places import Place, Places

DOWN = Trouble("connection", "refused")
SLOW_DOWN = Trouble("rate_limit", "HTTP 429", 20.0, overload=True)


@pytest.fixture
def told() -> Iterator[list[str]]:
    messages: list[str] = []
    handle = logger.add(lambda message: messages.append(str(message)), level="INFO", format="{message}")
    yield messages
    logger.remove(handle)


def place(cap: int = 8) -> Place:
    return Place("http://one/v1", rest_s=1.0, cap=cap)


def fail(at: Place, now: float, trouble: Trouble = DOWN, times: int = 1) -> None:
    for _ in range(times):
        at.settle(at.take(), trouble, now)


def test_five_troubles_in_a_row_begin_a_rest() -> None:
    one = place()
    fail(one, 0.0, times=4)
    assert not one.rests
    one.settle(one.take(), None, 0.0)
    fail(one, 0.0, times=4)
    assert not one.rests
    fail(one, 10.0)
    assert one.rests
    assert one.opens_at(10.0) == 11.0


def test_after_a_rest_exactly_one_request_finds_out() -> None:
    one = place()
    fail(one, 0.0, times=5)
    assert one.opens_at(1.5) == 1.5
    probe = one.take()
    assert one.opens_at(1.5) is None
    assert one.opens_at(100.0) is None
    one.settle(probe, None, 101.0)
    assert not one.rests
    assert one.opens_at(101.0) == 101.0


def test_rests_double_up_to_half_a_minute_until_there_is_a_reply() -> None:
    one, now, lengths = place(), 0.0, []
    fail(one, now, times=5)
    for _ in range(8):
        opens = one.opens_at(now)
        assert opens is not None
        lengths.append(opens - now)
        now = opens
        fail(one, now)
    assert lengths == [1, 2, 4, 8, 16, 30, 30, 30]
    now = one.opens_at(now) or 0
    one.settle(one.take(), None, now)
    fail(one, now, times=5)
    assert one.opens_at(now) == now + 1


def test_it_rests_as_long_as_the_server_asks_for() -> None:
    one = place()
    fail(one, 0.0, SLOW_DOWN)
    fail(one, 0.0, times=4)
    assert one.opens_at(0.0) == 20.0
    fail(one, 20.0)
    assert one.opens_at(20.0) == 22.0


def test_requests_sent_before_a_rest_count_no_more() -> None:
    one = place(16)
    numbers = [one.take() for _ in range(16)]
    for number in numbers:
        one.settle(number, DOWN, 0.0)
    assert one.opens_at(0.0) == 1.0, "one rest for all sixteen"
    one.settle(one.take(), None, 1.0)
    assert not one.rests


def test_a_late_reply_ends_the_finding_out_but_no_rest() -> None:
    one = place()
    late, later = one.take(), one.take()
    fail(one, 0.0, SLOW_DOWN, times=5)
    one.settle(late, None, 1.0)
    assert one.opens_at(1.0) == 20.0
    one.take()
    one.settle(later, None, 21.0)
    assert not one.rests


def test_only_an_outage_that_lasts_is_told_and_so_is_its_end(told: list[str]) -> None:
    one, now = place(), 0.0
    fail(one, now, times=5)
    one.settle(one.take(), None, 1.0)
    assert not told
    fail(one, now, times=7)
    one.settle(one.take(), None, 100.0)
    [gone, back] = [message.strip() for message in told]
    assert gone == ("http://one/v1 does not answer (connection: refused); it is asked now and then until it does")
    assert back == "http://one/v1 answers again"


def test_each_place_has_an_equal_share_of_the_whole() -> None:
    changes = []
    places = Places(10, 1.0, lambda: changes.append(len(places)))
    for n, share in enumerate([10, 5, 4], start=1):
        places.add(f"http://{n}/v1")
        assert [one.limit.cap for one in places] == [share] * n
        assert places.limit == 10
    places.add("http://1/v1")
    places.remove("http://1/v1")
    places.remove("http://1/v1")
    assert [(one.name, one.limit.now) for one in places] == [("http://2/v1", 5), ("http://3/v1", 5)]
    assert changes == [1, 2, 3, 2]


def test_the_one_with_the_least_in_flight_for_its_limit_is_asked() -> None:
    places = Places(20, 1.0)
    one, two = places.add("1"), places.add("2")
    for _ in range(3):
        two.settle(two.take(), SLOW_DOWN, 0.0)
    assert (one.limit.now, two.limit.now) == (10, 5)
    chosen = []
    while (place := places.choose(0.0)) is not None:
        place.take()
        chosen.append(place.name)
    assert "".join(chosen) == "121121121121211"
    assert places.opens_at(0.0) is None


def test_what_rests_is_not_asked_and_there_is_nothing_to_choose_while_all_do() -> None:
    places = Places(4, 1.0)
    one, two = places.add("1"), places.add("2")
    one.rest(DOWN, 0.0)
    assert [places.choose(0.0), places.resting, places.limit] == [two, 1, 2]
    two.rest(DOWN, 0.5)
    assert places.choose(0.9) is None
    assert places.opens_at(0.9) == 1.0
    assert places.choose(1.0) is one


def test_without_places_there_is_nothing_to_choose() -> None:
    places = Places(4, 1.0)
    assert (len(places), places.choose(0.0), places.opens_at(0.0), places.limit) == (0, None, None, 0)
