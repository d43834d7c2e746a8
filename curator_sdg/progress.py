"""Progress for people: a display that stays in place on a terminal, plain lines elsewhere.

What is shown follows from the state alone; :func:`display` and :func:`plain_lines` draw it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from curator_sdg.ledger import Counts
from curator_sdg.pace import Figures, Pace, Speed, about, clock_text, rate_text
from curator_sdg.rundir import STEPS

_REFRESHES_PER_S = 4
_EVERY_S, _LATER_EVERY_S = 10.0, 60.0  # between blocks of plain lines; in the first minutes, and after them
_LATER_S = 600.0
_BAR = range(4, 41)  # the widths a bar may have
_GAP = 2  # between columns
_LABEL = 8  # the widest name of a step
_STYLES = {"waiting": "dim", "working": "cyan", "done": "green"}


@dataclass(frozen=True)
class StepState:
    """How far a step is."""

    name: str
    shards: int = 0
    published: int = 0
    counts: Counts = field(default_factory=Counts)
    state: str = "waiting"

    def plus(self, counts: Counts, instead: Counts | None = None) -> StepState:
        """Return the state after one more shard, or after one that replaces another."""
        if instead is None:
            return replace(self, published=self.published + 1, counts=self.counts + counts)
        return replace(self, counts=self.counts - instead + counts)


@dataclass(frozen=True)
class State:
    """All that is shown, at one moment; ``left_s`` and ``cost`` are null where they are not known."""

    steps: Sequence[StepState]
    elapsed_s: float
    speed: Speed | None = None
    left_s: float | None = None
    cost: float | None = None


class Progress:
    """Shows how far each step is, and how the teacher does; may be called from any thread.

    Within :meth:`live`, a terminal shows a display; everywhere else there are plain lines, a block now and then.

    Args:
        console: Where to; null shows nothing.
        clock: Seconds since any moment.
    """

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()  # guards the state; never held while anything is printed
        self._plan: Sequence[str] = STEPS
        self._steps: dict[str, StepState] = {}
        self._pace = Pace()
        self._started = self._said = clock()
        self._live = False  # within live()
        self._shown = False  # ... and on a terminal

    def warn(self, message: str) -> None:
        """Say something that did not end the run."""
        self._print(f"warning: {message}", "yellow")

    def say(self, message: str) -> None:
        """Say something that stays on the screen."""
        self._print(message)

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show the display; what it showed last stays on the screen.

        Raises:
            RuntimeError: If it is shown already.
        """
        with self._lock:
            if self._live:
                raise RuntimeError("the progress is shown already")
            self._live = True
        display = self._open()
        try:
            yield
        finally:
            if display is not None:
                with _harmless(display.console):
                    display.stop()
            elif any(step.state == "working" for step in self.state().steps):
                self._block()  # it ends early: this is how far it came
            self._live = self._shown = False

    def plan(self, steps: Sequence[str]) -> None:
        """Say which steps there will be, in order; all steps of a run unless said otherwise."""
        self._plan = tuple(steps)

    def begin(self, step: str, shards: int, done: Sequence[Counts] = ()) -> None:
        """Show a step of ``shards`` shards, of which those with the figures in ``done`` are published already.

        Beginning a step again replaces what was shown of it.
        """
        if self._console is not None:
            state = StepState(step, shards, len(done), sum(done, Counts()), "working")
            with self._lock:
                self._steps[step] = state
            self._tick()

    def advance(self, step: str, counts: Counts, *, instead: Counts | None = None) -> None:
        """Count one more shard of a step as published; ``instead`` of one that was counted already, where given."""
        if self._console is not None:
            with self._lock:
                self._steps[step] = self._steps.get(step, StepState(step, state="working")).plus(counts, instead)
            self._tick()

    def end(self, step: str) -> None:
        """Show a step as done."""
        if self._console is not None:
            with self._lock:
                before = self._steps.get(step, StepState(step))
                self._steps[step] = ended = replace(before, state="done")
            if before.state == "working" and not self._shown:
                self._print(step_line(ended))

    def teacher(self, figures: Figures) -> None:
        """Take what the teacher reports of itself, about once a second."""
        if self._console is not None:
            with self._lock:
                self._pace.add(figures, self._clock())
            self._tick()

    def expect(self, requests: float) -> None:
        """Say how many requests this run has still to ask, over all steps."""
        if self._console is not None:
            with self._lock:
                self._pace.expect(requests)

    def state(self) -> State:
        """Return what is shown right now."""
        now = self._clock()
        with self._lock:
            pace = self._pace
            steps = in_order(self._plan, self._steps)
            return State(steps, now - self._started, pace.speed(now), pace.left_s(now), pace.cost)

    def _open(self) -> Live | None:
        console = self._console
        if console is None or not (console.is_terminal and console.is_interactive):
            return None
        live = _Display(
            _Guarded(lambda width: display(self.state(), width)),
            console=console,
            refresh_per_second=_REFRESHES_PER_S,
            # Output that goes to a file is none of the terminal's business.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
        )
        with _harmless(console):
            live.start(refresh=True)
            self._shown = True
        return live

    def _tick(self) -> None:
        """Print a block of plain lines if one is due."""
        if self._shown:
            return
        now = self._clock()
        with self._lock:
            every = _EVERY_S if now - self._started < _LATER_S else _LATER_EVERY_S
            if now - self._said < every:
                return
            self._said = now
        self._block()

    def _block(self) -> None:
        if self._console is not None:
            with _harmless(self._console):
                if lines := plain_lines(self.state()):
                    self._print("\n".join(lines))

    def _print(self, text: str, style: str | None = None) -> None:
        if self._console is not None:
            wrap = not self._console.is_terminal  # a line of a file is as long as it is
            with _harmless(self._console):
                self._console.print(text, style=style, highlight=False, markup=False, soft_wrap=wrap)


class _Display(Live):
    """A display that outlives a terminal's hiccups: what cannot be written now is drawn again next time."""

    def refresh(self) -> None:
        with _harmless(self.console):
            super().refresh()


@contextlib.contextmanager
def _harmless(console: Console) -> Iterator[None]:
    """Let a run go on whatever happens while something is written."""
    try:
        yield
    except (Exception, SystemExit) as error:
        # Rich exits where a pipe is broken; any other exit was asked for, by a signal.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        # Rich keeps what it could not write, to write it again before all that follows; a capture empties that.
        with contextlib.suppress(Exception, SystemExit), console.capture():
            pass


class _Guarded:
    """Draws to a width; what goes wrong is shown in place of what was to be drawn."""

    def __init__(self, draw: Callable[[int], RenderableType]) -> None:
        self._draw = draw

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        try:
            return list(console.render(self._draw(options.max_width), options))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run does not depend on it
            message = " ".join(f"progress cannot be shown: {type(error).__name__}: {error}".split())
            return [Segment(message[: options.max_width])]


def in_order(plan: Sequence[str], begun: Mapping[str, StepState]) -> list[StepState]:
    """Return the steps to show: those begun, in the order of the plan, and after them those still to come.

    A step before those, which never began, had nothing to do.
    """
    order = [*plan, *(name for name in begun if name not in plan)]
    last = max((order.index(name) for name in begun), default=-1)
    return [begun.get(name, StepState(name)) for i, name in enumerate(order) if name in begun or i > last]


# ---- a terminal ----------------------------------------------------------------------------------------------


def display(state: State, width: int) -> RenderableType:
    """Draw everything: a row a step, then the teacher, then the run as a whole."""
    room = width - _LABEL - _GAP
    lines = [_labelled("teacher", teacher_text(state.speed, room), width)] if state.speed else []
    run = [f"{clock_text(state.elapsed_s)} elapsed", *_bill(state.cost), *_left(state.left_s)]
    return Group(_table(state.steps, width), *lines, _labelled("run", ", ".join(run), width))


def teacher_text(speed: Speed, room: int) -> str:
    """Return the teacher's figures at the greatest length that fits into ``room`` columns."""
    requests, written = rate_text(speed.requests), rate_text(speed.completion_tokens)
    flight, queued = _in_flight(speed), f"{speed.queued:,} queued"
    failed = _trouble(speed)
    plain = [f"{requests} requests/s", f"{written} tokens/s", flight, queued, *failed]
    read = f"{written} tokens/s (and {rate_text(speed.prompt_tokens)} prompt)"
    short = [f"{requests} req/s", f"{written} tok/s", flight, queued, *failed]
    long = [plain[0], read if speed.prompt_tokens else plain[1], *plain[2:]]
    ways = [long, plain, short, [*short[:2], flight, *failed], [*short[:2], *failed]]
    texts = [", ".join(way) for way in ways]
    return next((text for text in texts if len(text) <= room), texts[-1])


def _table(steps: Sequence[StepState], width: int) -> Table:
    optional = [name for name in ("pending", "surplus") if any(getattr(step.counts, name) for step in steps)]
    heads = ["step", "shards", "out", "rejected", *optional, "state"]
    texts = [_cells(step, optional) for step in steps]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    widths[0], widths[-1] = max(widths[0], _LABEL), max(map(len, _STYLES))
    rows: list[list[RenderableType]] = [
        [Text(name, "dim" if step.state == "waiting" else ""), *map(Text, figures), Text(word, _STYLES[step.state])]
        for step, (name, *figures, word) in zip(steps, texts, strict=True)
    ]
    bar = min(_BAR[-1], width - sum(widths) - _GAP * len(widths))
    if bar in _BAR:
        heads.insert(1, "")
        widths.insert(1, bar)
        for step, row in zip(steps, rows, strict=True):
            row.insert(1, ProgressBar(max(step.shards, 1), _filled(step), bar))
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for head, size in zip(heads, widths, strict=True):
        table.add_column(width=size, no_wrap=True, justify="left" if head in ("step", "state") else "right")
    table.add_row(*(Text(head, "dim") for head in heads))
    for row in rows:
        table.add_row(*row)
    return table


def _cells(step: StepState, optional: Sequence[str]) -> list[str]:
    counts = step.counts
    if step.state == "waiting":
        return [step.name, *[""] * (3 + len(optional)), step.state]
    return [
        step.name,
        f"{step.published:,}/{step.shards:,}",
        f"{counts.out:,}",
        f"{counts.rejected.total():,}",
        *(f"{number:,}" if (number := getattr(counts, name)) else "" for name in optional),
        step.state,
    ]


def _filled(step: StepState) -> int:
    """Return how much of a bar is filled; all of it where there was nothing to do."""
    return step.published if step.shards else int(step.state == "done")


def _labelled(label: str, text: str, width: int) -> Text:
    line = Text.assemble((label.ljust(_LABEL + _GAP), "dim"), text, no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line


# ---- plain lines ---------------------------------------------------------------------------------------------


def plain_lines(state: State) -> list[str]:
    """Return a line for each working step and one for the teacher, unless it has nothing to do."""
    lines = [step_line(step) for step in state.steps if step.state == "working"]
    if state.speed is not None and not state.speed.idle:
        speed = state.speed
        texts = [
            f"{rate_text(speed.requests)} requests/s",
            f"{rate_text(speed.completion_tokens)} tokens/s",
            _in_flight(speed),
            f"{speed.queued:,} queued",
            *_trouble(speed),
            *_bill(state.cost),
            *_left(state.left_s),
        ]
        lines.append(f"teacher: {', '.join(texts)}")
    return lines


def step_line(step: StepState) -> str:
    """Return how far a step is, for example ``generate: 12/40 shards, 5,120 out, 61 rejected``."""
    counts = step.counts
    texts = [
        f"{step.published:,}/{step.shards:,} shards",
        f"{counts.out:,} out",
        f"{counts.rejected.total():,} rejected",
        *_some(counts.pending, "pending"),
        *_some(counts.surplus, "surplus"),
    ]
    return f"{step.name}: {', '.join(texts)}"


def _in_flight(speed: Speed) -> str:
    limit = f" of {speed.limit:,}" if speed.limit else ""
    return f"{speed.in_flight:,}{limit} in flight"


def _trouble(speed: Speed) -> list[str]:
    resting = [f"{speed.resting} of {speed.endpoints} endpoints resting"] if speed.resting else []
    return [*_some(speed.waiting, "to be sent again"), *_some(speed.failures, "failures"), *resting]


def _some(number: int, what: str) -> list[str]:
    return [f"{number:,} {what}"] if number else []


def _bill(cost: float | None) -> list[str]:
    if cost is None:
        return []
    return [f"bill {cost:,.2f}" if cost >= 0.1 or not cost else f"bill {cost:.4f}"]


def _left(seconds: float | None) -> list[str]:
    return [] if seconds is None else [f"{about(seconds)} left"]
