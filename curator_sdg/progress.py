"""Progress for people: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from curator_sdg.ledger import Counts

_EVERY_S = 10.0  # between plain lines


class Progress:
    """Shows how far each step is, on standard error.

    Args:
        console: Where to; null shows nothing.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console

    def warn(self, message: str) -> None:
        """Say something that did not end the run."""
        if self._console is not None:
            self._console.print(f"warning: {message}", style="yellow", highlight=False, markup=False)

    @contextlib.contextmanager
    def step(self, name: str, total: int, done: int = 0) -> Iterator[Callable[[Counts], None]]:
        """Show a step of ``total`` shards; the function given is called with each shard's figures."""
        figures = Counts()
        if self._console is None:
            yield lambda _: None
        elif self._console.is_terminal:
            columns = (
                TextColumn("{task.description:>9}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            with Bars(*columns, console=self._console) as bars:
                bar = bars.add_task(name, total=total, completed=done, figures="")

                def advance(counts: Counts) -> None:
                    nonlocal figures
                    figures += counts
                    bars.update(bar, advance=1, figures=_figures(figures))

                yield advance
        else:
            yield self._lines(name, total, done)

    def _lines(self, name: str, total: int, done: int) -> Callable[[Counts], None]:
        figures, finished, said = Counts(), done, 0.0

        def advance(counts: Counts) -> None:
            nonlocal figures, finished, said
            figures += counts
            finished += 1
            if finished == total or time.monotonic() - said > _EVERY_S:
                said = time.monotonic()
                assert self._console is not None
                line = f"{name}: {finished}/{total} shards, {_figures(figures)}"
                self._console.print(line, highlight=False, markup=False)

        return advance


def _figures(counts: Counts) -> str:
    text = f"{counts.out} out, {counts.rejected.total()} rejected"
    return f"{text}, {counts.pending} pending" if counts.pending else text
