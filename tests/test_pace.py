"""How fast a teacher is said to be, from figures made up second by second."""

import pickle
from dataclasses import dataclass

import pytest

from curator_sdg.pace import Figures, Pace, Teachers, about, clock_text, rate_text


@dataclass
class Teacher:
    """Reports once a second, as long as it works at the same rate."""

    pace: Pace
    now: float = 0.0
    done: int = 0

    def work(self, seconds, rate, in_flight=8, **other):
        for _ in range(seconds):
            self.now += 1
            self.done += rate
            figures = Figures(0, in_flight, self.done, self.done, completion_tokens=100 * self.done, **other)
            self.pace.add(figures, self.now)

    def restart(self):
        self.done = 0

    @property
    def speed(self):
        return self.pace.speed(self.now)

    @property
    def left(self):
        return self.pace.left_s(self.now)


@pytest.fixture
def teacher():
    return Teacher(Pace())


def test_figures_travel_between_processes():
    figures = Figures(1, 2, 3, cost=0.5)
    assert pickle.loads(pickle.dumps(figures)) == figures


def test_nothing_is_said_of_a_teacher_never_heard_of():
    pace = Pace()
    assert (pace.speed(5.0), pace.left_s(5.0), pace.cost) == (None, None, None)


def test_rates_are_over_the_last_half_minute(teacher):
    teacher.work(600, 10)
    teacher.work(30, 40)
    assert teacher.speed.requests == pytest.approx(40)
    assert teacher.speed.completion_tokens == pytest.approx(4000)


def test_failures_and_refusals_are_requests_too():
    pace = Pace()
    for second in range(11):
        pace.add(Figures(replies=second, failures=second, refusals=second), float(second))
    assert pace.speed(10.0).requests == pytest.approx(3)
    assert pace.speed(10.0).failures == 10


def test_rates_go_on_through_a_restart_of_the_teacher(teacher):
    teacher.work(60, 10, failures=3)
    teacher.restart()
    teacher.work(5, 10, failures=1)
    assert teacher.speed.requests == pytest.approx(10, rel=0.05)
    assert teacher.speed.failures == 4


def test_a_teacher_not_heard_of_for_long_is_gone(teacher):
    teacher.pace.expect(1e6)
    teacher.work(60, 10, cost=1.5)
    assert teacher.pace.speed(teacher.now + 5) is not None
    assert teacher.pace.speed(teacher.now + 60) is None
    assert teacher.pace.left_s(teacher.now + 60) is None
    assert teacher.pace.cost == 1.5


def test_a_teacher_that_comes_back_is_not_slowed_by_its_absence(teacher):
    teacher.work(60, 10)
    teacher.now += 3600
    teacher.work(10, 10)
    assert teacher.speed.requests == pytest.approx(10)


def test_time_left_is_what_is_expected_over_the_rate(teacher):
    teacher.pace.expect(10_000)
    teacher.work(100, 10)
    assert teacher.left == pytest.approx((10_000 - 1000) / 10)
    teacher.pace.expect(500)
    assert teacher.left == pytest.approx(50)


def test_time_left_counts_down_between_estimates_through_a_restart(teacher):
    teacher.pace.expect(10_000)
    teacher.work(100, 10)
    teacher.restart()
    teacher.work(100, 10)
    assert teacher.left == pytest.approx(800, rel=0.02)


def test_no_time_left_is_named_too_early_nor_once_all_is_asked(teacher):
    teacher.pace.expect(300)
    teacher.work(5, 10)
    assert teacher.left is None
    teacher.work(10, 10)
    assert teacher.left is not None
    teacher.work(30, 10)
    assert teacher.left is None


def test_waiting_for_the_first_reply_does_not_count_against_the_rate(teacher):
    teacher.pace.expect(10_000)
    teacher.work(300, 0)
    assert teacher.left is None
    teacher.work(31, 10)
    assert teacher.left == pytest.approx((10_000 - 310) / 10)


def test_a_pause_between_steps_does_not_move_the_time_left(teacher):
    teacher.pace.expect(10_000)
    teacher.work(100, 10)
    before = teacher.left
    teacher.work(1, 0, in_flight=0)  # the last second of work, whose reply rate is the teacher's own
    teacher.work(300, 0, in_flight=0)
    assert teacher.left == pytest.approx(before, rel=0.02)
    assert teacher.speed.requests == 0
    assert teacher.speed.idle


def test_time_left_follows_a_change_of_rate_calmly(teacher):
    teacher.work(600, 20)
    teacher.pace.expect(1e6)
    before = teacher.left
    teacher.work(10, 0)  # a hiccup
    assert teacher.left == pytest.approx(before, rel=0.1)
    teacher.work(900, 5)
    assert teacher.left == pytest.approx(1e6 / 5, rel=0.1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "less than a minute"),
        (60, "about 1 min"),
        (12.4 * 60, "about 12 min"),
        (59.8 * 60, "about 1 h"),
        (200 * 60, "about 3 h 20 min"),
        (9.99 * 3600, "about 10 h"),
        (31.2 * 3600, "about 31 h"),
        (5 * 86400, "about 5 days"),
    ],
)
def test_a_length_of_time_is_told_as_people_do(seconds, text):
    assert about(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0"), (0.031, "0.03"), (3.44, "3.4"), (9.99, "10.0"), (99.96, "100"), (212.4, "212"), (41_349, "41,300")],
)
def test_a_rate_has_no_more_digits_than_it_is_worth(rate, text):
    assert rate_text(rate) == text


def test_the_time_elapsed_goes_beyond_a_day():
    assert clock_text(59.9) == "0:00:59"
    assert clock_text(2 * 86400 + 3661) == "49:01:01"


def test_several_teachers_count_as_one():
    teachers = Teachers()
    teachers.add("TEACHER", Figures(queued=1, asked=10, replies=9, cost=1.0))
    both = teachers.add("TEACHER:solver", Figures(queued=2, asked=5, replies=5, cost=1.5))
    assert (both.queued, both.asked, both.replies, both.cost) == (3, 15, 14, 1.5)


def test_a_teacher_that_begins_anew_takes_the_others_of_its_process_with_it():
    teachers = Teachers()
    teachers.add("TEACHER", Figures(asked=10, replies=9))
    teachers.add("TEACHER:solver", Figures(asked=5, replies=5))
    assert teachers.add("TEACHER", Figures(asked=1)).asked == 1
