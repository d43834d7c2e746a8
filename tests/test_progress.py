"""What is shown of a run, on recorded consoles and a clock of our own."""

import io
import threading
import time
from collections import Counter

import pytest
from rich.cells import cell_len
from rich.console import Console

from curator_sdg import progress as module
from curator_sdg.ledger import Counts
from curator_sdg.pace import Figures, Speed
from curator_sdg.progress import Progress, State, StepState, display, in_order, plain_lines, step_line, teacher_text
from curator_sdg.rundir import STEPS


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def counts(out, rejected=0, pending=0, surplus=0):
    return Counts(out + rejected + pending + surplus, out, Counter(wrong=rejected), pending, surplus)


def terminal(width=80):
    return Console(width=width, height=40, file=io.StringIO(), force_terminal=True, force_interactive=True)


def plain():
    return Console(width=80, file=io.StringIO(), force_terminal=False)


def printed(console):
    return console.file.getvalue().splitlines()


def drawn(state, width):
    console = Console(width=width, file=io.StringIO())
    console.print(display(state, width))
    return [line.rstrip() for line in printed(console)]


def working(name="generate", shards=40, published=12, *figures):
    return StepState(name, shards, published, counts(*(figures or (0,))), "working")


ALL = State(
    [
        StepState("collect", 22, 22, counts(118_204, 312), "done"),
        StepState("seeds", 400, 400, counts(204_800), "done"),
        working("generate", 400, 212, 1_085_440, 19_080),
        working("dedup", 400, 180, 90_000, 1620, 0, 540),
        working("enrich", 400, 120, 58_800, 2280, 3600),
        StepState("curate"),
        StepState("package"),
    ],
    elapsed_s=3751,
    speed=Speed(212, 102_345, 41_300, 64, 1203, 12),
    left_s=200 * 60,
    cost=1.42,
)


# ---- the display ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_display_has_a_line_a_step_and_nothing_is_cut_or_wrapped(width):
    lines = drawn(ALL, width)
    assert len(lines) == 1 + len(STEPS) + 2
    assert all(cell_len(line) <= width for line in lines)
    assert "…" not in "".join(lines)
    assert lines[0].split() == ["step", "shards", "out", "rejected", "pending", "surplus", "state"]
    assert lines[3].replace("━", "").replace("╸", "").split() == [
        "generate", "212/400", "1,085,440", "19,080", "working",
    ]  # fmt: skip
    assert lines[-1] == "run       1:02:31 elapsed, bill 1.42, about 3 h 20 min left"


@pytest.mark.parametrize("width", [20, 40, 60])
def test_a_narrow_terminal_wraps_nothing(width):
    lines = drawn(ALL, width)
    assert len(lines) == 1 + len(STEPS) + 2
    assert all(cell_len(line) <= width for line in lines)


def test_pending_and_surplus_have_columns_only_where_there_are_any():
    head, *_ = drawn(State([working("generate", 4, 2, 5, 1, 0, 0)], 0), 80)
    assert head.split() == ["step", "shards", "out", "rejected", "state"]
    head, row, *_ = drawn(State([working("generate", 4, 2, 5, 1, 7, 0)], 0), 80)
    assert head.split() == ["step", "shards", "out", "rejected", "pending", "state"]
    assert row.split()[-2:] == ["7", "working"]


def test_what_is_not_known_is_not_shown():
    lines = drawn(State([working()], 5), 80)
    assert len(lines) == 3
    assert lines[-1] == "run       0:00:05 elapsed"


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (110, "212 requests/s, 41,300 tokens/s (and 102,000 prompt), 64 in flight, 1,203 queued, 12 failures"),
        (75, "212 requests/s, 41,300 tokens/s, 64 in flight, 1,203 queued, 12 failures"),
        (70, "212 req/s, 41,300 tok/s, 64 in flight, 1,203 queued, 12 failures"),
        (55, "212 req/s, 41,300 tok/s, 64 in flight, 12 failures"),
    ],
)
def test_the_teachers_figures_take_the_room_there_is(room, text):
    assert teacher_text(ALL.speed, room) == text


def test_steps_not_begun_wait_behind_those_that_are():
    begun = {"enrich": working("enrich"), "generate": working("generate")}
    assert [step.name for step in in_order(STEPS, begun)] == ["generate", "enrich", "curate", "package"]
    assert [step.state for step in in_order(STEPS, begun)] == ["working", "working", "waiting", "waiting"]
    assert [step.name for step in in_order(STEPS, {})] == list(STEPS)


def test_the_plan_limits_what_is_waited_for(clock):
    progress = Progress(plain(), clock=clock)
    progress.plan(["collect", "seeds"])
    progress.begin("collect", 3)
    assert [step.name for step in progress.state().steps] == ["collect", "seeds"]


# ---- the state -----------------------------------------------------------------------------------------------


def test_a_step_goes_on_from_the_shards_already_published(clock):
    progress = Progress(plain(), clock=clock)
    progress.begin("generate", 4, [counts(10, 1), counts(20, 2)])
    progress.advance("generate", counts(30, 3, 4))
    step = progress.state().steps[0]
    assert (step.published, step.counts.out, step.counts.rejected.total(), step.counts.pending) == (3, 60, 6, 4)
    progress.begin("generate", 8, [counts(1)])
    step = progress.state().steps[0]
    assert (step.shards, step.published, step.counts.out, step.state) == (8, 1, 1, "working")


def test_an_advance_of_a_step_never_begun_does_no_harm(clock):
    progress = Progress(plain(), clock=clock)
    progress.advance("generate", counts(1))
    progress.end("enrich")
    assert drawn(progress.state(), 80)


def test_threads_may_report_at_the_same_time():
    progress = Progress(terminal())

    def report():
        for second in range(200):
            progress.advance("generate", counts(1))
            progress.teacher(Figures(replies=second))

    with progress.live():
        progress.begin("generate", 800)
        threads = [threading.Thread(target=report) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert progress.state().steps[0].published == 800
    assert progress.state().steps[0].counts.out == 800


def test_without_a_console_nothing_is_kept_or_shown():
    progress = Progress()
    with progress.live():
        progress.warn("w")
        progress.say("s")
        progress.begin("generate", 4, [counts(1)])
        progress.advance("generate", counts(1))
        progress.teacher(Figures(replies=1, cost=1.0))
        progress.expect(5.0)
        progress.end("generate")
    assert all(step.state == "waiting" for step in progress.state().steps)
    assert progress.state().cost is None


# ---- a terminal ----------------------------------------------------------------------------------------------


def test_a_terminal_keeps_the_last_state(clock):
    console = terminal()
    progress = Progress(console, clock=clock)
    with progress.live():
        progress.begin("generate", 2)
        progress.say("two shards will be made again")
        progress.advance("generate", counts(5))
        progress.advance("generate", counts(6))
        progress.end("generate")
    text = console.file.getvalue()
    last = text[text.rindex("step ") :]
    assert "2/2" in last
    assert "11" in last
    assert "done" in last
    assert text.count("two shards will be made again") == 1
    assert "generate: " not in text  # no plain lines beside the display


def test_the_display_cannot_be_shown_twice_but_again():
    for console in (None, plain(), terminal()):
        progress = Progress(console)
        with progress.live(), pytest.raises(RuntimeError, match="shown already"), progress.live():
            pass
        with progress.live():
            pass


def test_the_runs_own_error_comes_through():
    progress = Progress(terminal())
    with pytest.raises(ZeroDivisionError), progress.live():
        raise ZeroDivisionError


def test_an_error_while_drawing_is_shown_and_ends_nothing(monkeypatch):
    def broken(state, width):
        raise ValueError("no\nway " + "x" * 200)

    monkeypatch.setattr(module, "display", broken)
    console = terminal()
    progress = Progress(console)
    with progress.live():
        progress.begin("generate", 2)
        progress.say("still here")
        progress.end("generate")
    text = console.file.getvalue()
    assert "progress cannot be shown: ValueError: no way" in text
    assert "x" * 80 not in text
    assert "still here" in text


class Flaky(io.StringIO):
    """A stream that cannot be written to for a while."""

    broken = True
    error = OSError("Resource temporarily unavailable")

    def write(self, text):
        if self.broken:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_stream_that_fails_ends_nothing_and_is_used_again(clock, is_terminal):
    file = Flaky()
    console = Console(width=80, file=file, force_terminal=is_terminal, force_interactive=is_terminal)
    progress = Progress(console, clock=clock)
    with progress.live():
        progress.begin("generate", 2)
        for _ in range(5):
            progress.say("lost")
        file.broken = False
        progress.say("written")
        progress.end("generate")
    assert "written" in file.getvalue()
    assert "lost" not in file.getvalue()
    assert "0/2" in file.getvalue()


def test_a_broken_pipe_ends_nothing_but_an_exit_asked_for_meanwhile_does(monkeypatch):
    monkeypatch.setattr("os.dup2", lambda *_: None)  # rich would turn the tests' own output off
    file = Flaky()
    progress = Progress(Console(file=file, width=80))
    file.error = SystemExit(143)
    with pytest.raises(SystemExit):
        progress.say("terminated")
    file.error = BrokenPipeError()
    progress.say("nobody reads this")


def test_an_error_in_the_plain_lines_ends_nothing(monkeypatch, clock):
    monkeypatch.setattr(module, "plain_lines", lambda state: 1 / 0)
    progress = Progress(plain(), clock=clock)
    progress.begin("generate", 2)
    clock.now = 100.0
    progress.advance("generate", counts(1))
    assert progress.state().steps[0].published == 1


def test_the_display_refreshes_no_more_than_four_times_a_second():
    console = terminal()
    progress = Progress(console)
    began = time.monotonic()
    with progress.live():
        progress.begin("generate", 3000)
        for _ in range(3000):
            progress.advance("generate", counts(1))
    at_the_ends = 3  # of the display: one is drawn when it opens, up to two when it closes
    assert console.file.getvalue().count("shards") <= at_the_ends + 4 * (time.monotonic() - began)


# ---- plain lines ---------------------------------------------------------------------------------------------


def test_a_step_is_told_in_a_line():
    assert step_line(working("generate", 40, 12, 5120, 61)) == "generate: 12/40 shards, 5,120 out, 61 rejected"
    told = step_line(working("enrich", 4, 1, 5, 0, 2, 1))
    assert told == "enrich: 1/4 shards, 5 out, 0 rejected, 2 pending, 1 surplus"


def test_plain_lines_are_one_a_working_step_and_one_for_the_teacher():
    speed = Speed(212, 9, 41_300, 64, 1203)
    assert plain_lines(State([*ALL.steps[:3], *ALL.steps[5:]], 0, speed, 12 * 60, 1.42)) == [
        "generate: 212/400 shards, 1,085,440 out, 19,080 rejected",
        "teacher: 212 requests/s, 41,300 tokens/s, 64 in flight, 1,203 queued, bill 1.42, about 12 min left",
    ]
    assert plain_lines(State(ALL.steps[:1], 0, Speed(), 60, 1.42)) == []


def test_a_teacher_in_trouble_says_so():
    speed = Speed(212, 9, 41_300, 40, 1203, 2, limit=64, waiting=17, endpoints=3, resting=1)
    told = "40 of 64 in flight, 1,203 queued, 17 to be sent again, 2 failures, 1 of 3 endpoints resting"
    assert plain_lines(State([], 0, speed)) == [f"teacher: 212 requests/s, 41,300 tokens/s, {told}"]
    assert teacher_text(speed, 200).endswith(told)


def test_plain_lines_come_every_ten_seconds_and_later_every_minute(clock):
    console = plain()
    progress = Progress(console, clock=clock)
    progress.begin("generate", 10_000)
    for second in range(1, 1201):
        clock.now = float(second)
        progress.advance("generate", counts(1))
        if second == 600:
            early = len(printed(console))
    assert early == pytest.approx(60, abs=1)
    assert len(printed(console)) - early == pytest.approx(10, abs=1)


def test_a_finished_step_always_has_its_last_line(clock):
    console = plain()
    progress = Progress(console, clock=clock)
    with progress.live():
        progress.begin("collect", 1)
        progress.advance("collect", counts(7, 2))
        progress.end("collect")
        progress.end("collect")
    assert printed(console) == ["collect: 1/1 shards, 7 out, 2 rejected"]


def test_a_run_that_ends_early_tells_how_far_it_came(clock):
    console = plain()
    progress = Progress(console, clock=clock)
    progress.begin("generate", 9)
    progress.advance("generate", counts(5))
    with pytest.raises(KeyboardInterrupt), progress.live():
        raise KeyboardInterrupt
    assert printed(console) == ["generate: 1/9 shards, 5 out, 0 rejected"]


def test_plain_lines_are_never_wrapped_nor_read_as_markup(clock):
    console = plain()
    progress = Progress(console, clock=clock)
    progress.warn("[bold]" + "long " * 40 + "end")
    progress.say("[red] stays")
    progress.begin("generate", 4)
    for second in range(61):
        clock.now = float(second)
        progress.teacher(Figures(123_456, 1024, 99 * second, 99 * second, 7, 0, 0, 0, 1_000_000 * second, 1.5))
    lines = printed(console)
    assert lines[0].startswith("warning: [bold]long")
    assert lines[0].endswith("end")
    assert lines[1] == "[red] stays"
    assert lines[-1] == (
        "teacher: 99 requests/s, 1,000,000 tokens/s, 1,024 in flight, 123,456 queued, 7 failures, bill 1.50"
    )


def test_a_terminal_without_a_display_has_plain_lines(clock):
    console = terminal()
    progress = Progress(console, clock=clock)
    progress.begin("generate", 1)
    progress.advance("generate", counts(3))
    progress.end("generate")
    assert printed(console) == ["generate: 1/1 shards, 3 out, 0 rejected"]


def test_a_bill_below_a_tenth_has_more_digits(clock):
    assert drawn(State([], 0, cost=0.0123), 80)[-1].endswith("bill 0.0123")
    assert drawn(State([], 0, cost=0.0), 80)[-1].endswith("bill 0.00")
    assert drawn(State([], 0, cost=12345.678), 80)[-1].endswith("bill 12,345.68")
