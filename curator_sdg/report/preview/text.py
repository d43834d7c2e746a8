"""A preview for the terminal: each prompt, reply and verdict side by side where there is room, else one below another.

A system prompt stands once, in full, before the first prompt that has it. Of the votes on a question, whose prompts
hardly differ, the lines that are as for the first vote are left out; so it is with the variants of a system prompt.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from curator_sdg.records import Record
from curator_sdg.report.preview.records import ExampleTrial, QuestionTrial, SeedTrial, Turn, Verdict, VoteTrial
from curator_sdg.report.preview.summary import Summary
from curator_sdg.report.show import laid_out, parsed, safe

_TWO, _THREE = 110, 170  # columns of the terminal from which so many blocks stand side by side
_LINE = 80  # characters of an answer where votes are counted
_ALIKE = 3  # lines in a row that are left out where they are as before
_STYLES = {"accepted": "green", "rejected": "red", "pending": "yellow"}


class _Block(NamedTuple):
    title: str
    body: RenderableType
    style: str = ""


class SystemPrompts:
    """The system prompts that were shown, by template, each with a short name for when it comes again."""

    def __init__(self) -> None:
        self._shown: dict[str, list[str]] = {}

    def name(self, turn: Turn) -> str:
        """Return the name of a turn's system prompt: its template, and a number where that gives several."""
        variants = self._shown.setdefault(turn.template, [])
        text = _system(turn)
        if text not in variants:
            variants.append(text)
        number = variants.index(text) + 1
        return turn.template if number == 1 else f"{turn.template} ({number})"

    def is_new(self, turn: Turn) -> bool:
        """Whether a turn's system prompt was not named yet."""
        return _system(turn) not in self._shown.get(turn.template, ())

    def first(self, turn: Turn) -> str:
        """Return the first system prompt that was shown of a turn's template."""
        return self._shown[turn.template][0]


def seed_text(trial: SeedTrial, title: str, systems: SystemPrompts, width: int) -> Group:
    """Return one seed with all that came of it.

    Args:
        trial: What came of it.
        title: Of the whole: ``seed 1 of 5``.
        systems: What was shown before; what is shown now is added.
        width: Columns of the terminal; 0 where it is none, but a file or a pipe.
    """
    seed = trial.seed
    about = "  ".join(str(seed[name]) for name in ("group", "framing", "answer_format", "depth", "language"))
    parts: list[RenderableType] = [
        Rule(Text(f"{title}: {seed['task']}", style="bold"), characters="━", style="bold"),
        Text(f"{seed['seed_id']}  {about}", style="dim"),
        *_rows([_Block("seed", _plain(_item(seed, seed["answer"])))], 0),
    ]
    for question in trial.questions:
        parts += _question(question, len(trial.questions), systems, width)
    return Group(*parts, Text())


def summary_text(summary: Summary) -> Text:
    """Return the figures of a preview in a few lines."""
    text = Text()
    asked = "" if summary.questions == summary.seeds else f"{_count(summary.questions, 'question')} asked for, "
    text.append(
        f"{_count(summary.seeds, 'seed')}: {asked}{_count(summary.passed, 'new question')}, "
        f"{summary.answered:,} answered and kept, {_count(summary.examples, 'example')}\n",
        style="bold",
    )
    for step, reasons in summary.lost.items():
        text.append(f"{step}: " + ", ".join(f"{reason} {n}" for reason, n in reasons.most_common()) + "\n")
    used = summary.used
    text.append(f"asked now: {_count(used.replies, 'reply', 'replies')}")
    if used.replies and not used.uncounted:
        cached = f" ({used.cached_tokens:,} cached)" if used.cached_tokens else ""
        text.append(f", {used.prompt_tokens:,} prompt{cached} and {used.completion_tokens:,} completion tokens")
    elif used.uncounted:
        text.append(f", of which {used.uncounted:,} came without token counts")
    if used.replies:
        text.append(", price not known" if summary.cost is None else f", cost {summary.cost:,.4f}")
    if summary.known:
        text.append(f"; known from an earlier preview: {_count(summary.known, 'reply', 'replies')}")
    return text


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


# ---- a question --------------------------------------------------------------------------------------------------


def _question(question: QuestionTrial, questions: int, systems: SystemPrompts, width: int) -> Iterator[RenderableType]:
    of = f" {question.sample + 1} of {questions}" if questions > 1 else ""
    yield from _new_systems(question.turns, systems, width)
    generated = _verdict(f"question{of}", question.verdicts["generate"])
    yield from _exchange(question.turns, f"question{of}", generated, systems, width)
    if (repeated := question.verdicts.get("dedup")) is not None and repeated.state != "accepted":
        yield _verdict("dedup", repeated)
    if "enrich" not in question.verdicts:
        return
    yield from _new_systems((turn for vote in question.votes for turn in vote.turns), systems, width)
    first = question.votes[0].turns[0] if question.votes else None
    for vote in question.votes:
        title = f"vote {vote.sample + 1} of {len(question.votes)} ({vote.style})"
        yield from _exchange(vote.turns, title, _vote(vote), systems, width, None if vote.sample == 0 else first)
    yield _tally(question)
    if (kept := question.verdicts.get("curate")) is not None:
        yield _verdict("filters", kept)
    yield from _rows([_example(example) for example in question.examples], width)


def _exchange(
    turns: Sequence[Turn],
    title: str,
    verdict: Text,
    systems: SystemPrompts,
    width: int,
    before: Turn | None = None,
) -> Iterator[RenderableType]:
    """Yield each turn's prompt and reply, and the verdict on the last of them.

    Args:
        turns: The request, and corrections after it; none where it was not sent.
        title: Of its prompt.
        verdict: What it came to.
        systems: The names of system prompts.
        width: Columns.
        before: A turn whose prompt was shown before: lines that are as in that one are left out.
    """
    for number, turn in enumerate(turns):
        if number:
            prompt = _Block(f"{title}: correction {number}", _plain(turn.messages[-1]["content"]))
        else:
            system = Text(f"after the system prompt {systems.name(turn)}\n", style="dim")
            text = _user(turn)
            body = _plain(text) if before is None else _changes(text, _user(before), "for vote 1")
            prompt = _Block(f"{title}: prompt", Group(system, body))
        blocks = [prompt, _reply(turn, f"{title}: reply")]
        last = number == len(turns) - 1
        if last and width >= _THREE:
            blocks.append(_Block("verdict", verdict))
        yield from _rows(blocks, width, ratios=(3, 3, 1))
        if last and width < _THREE:
            yield verdict
    if not turns:
        yield verdict


def _new_systems(turns: Iterable[Turn], systems: SystemPrompts, width: int) -> Iterator[RenderableType]:
    blocks = []
    for turn in turns:
        if not systems.is_new(turn):
            continue
        name, text, first = systems.name(turn), _system(turn), systems.first(turn)
        sampling = ", ".join(f"{key} {value}" for key, value in turn.sampling.items() if key != "seed")
        about = Text(f"{turn.model}; {sampling}\n", style="dim")
        body = _plain(text) if text == first else _changes(text, first, f"in {turn.template}")
        blocks.append(_Block(f"system prompt {name}", Group(about, body)))
    yield from _rows(blocks, width)


def _reply(turn: Turn, title: str) -> _Block:
    parts: list[RenderableType] = []
    if turn.reasoning:
        parts += [Text("thinking", style="bold dim"), Text(safe(turn.reasoning) + "\n", style="dim")]
    if turn.reply is not None:
        value = parsed(turn.reply)
        # What is JSON as it stands is laid out by its keys; everything else is shown as it came.
        parts.append(_plain(turn.reply) if isinstance(value, str) else laid_out(value))
        parts.append(Text(f"\n{_figures(turn)}", style="dim"))
    if turn.fault is not None:
        parts.append(_plain(turn.fault, style="red"))
    return _Block(title, Group(*parts))


def _figures(turn: Turn) -> str:
    counts = [
        f"{n:,} {what}"
        for n, what in (
            (turn.prompt_tokens, "prompt"),
            (turn.cached_tokens, "cached"),
            (turn.completion_tokens, "completion"),
        )
        if n is not None
    ]
    tokens = f"{', '.join(counts)} tokens; " if counts else "tokens not counted; "
    known = "; known from an earlier preview" if turn.known else ""
    return f"{tokens}finish_reason {turn.finish_reason}{known}"


def _vote(vote: VoteTrial) -> Text:
    state = {"answered": "accepted", "pending": "pending"}.get(vote.outcome, "rejected")
    text = vote.outcome if vote.answer is None else f"{vote.outcome}: {_short(vote.answer)}"
    return Text(f"→ vote {vote.sample + 1}: {text}", style=_STYLES[state])


def _tally(question: QuestionTrial) -> Text:
    answer, verdict = question.answer, question.verdicts["enrich"]
    if answer is None:
        return _verdict("tally", verdict)
    counted = ", ".join(f"{vote['count']} for {_short(vote['answer'])!r}" for vote in answer["votes"])
    proposed = "the generator proposed the same" if answer["agrees"] else "the generator proposed another answer"
    text = f"→ tally: accepted: of {answer['k']} votes {counted}; {proposed}"
    return Text(text, style=_STYLES[verdict.state])


def _verdict(what: str, verdict: Verdict) -> Text:
    why = ": ".join(filter(None, (verdict.reason, safe(verdict.detail))))
    by = f" ({verdict.stage})" if verdict.stage else ""
    return Text(f"→ {what}: {verdict.state}{by}" + (f": {why}" if why else ""), style=_STYLES[verdict.state])


def _example(example: ExampleTrial) -> _Block:
    title = f"packaged: {example.variant}"
    body = _verdict(example.variant, example.verdict) if example.text is None else _plain(example.text)
    return _Block(title, body, _STYLES[example.verdict.state])


# ---- layout ------------------------------------------------------------------------------------------------------


def _rows(blocks: Sequence[_Block], width: int, ratios: Sequence[int] = (1, 1, 1)) -> Iterator[RenderableType]:
    """Yield blocks in boxes, as many beside each other as there is room for; without boxes where it is narrow."""
    if width < _TWO:
        for block in blocks:
            yield Rule(Text(block.title, style=block.style or "bold"), align="left", characters="─", style="dim")
            yield block.body
        return
    size = 3 if width >= _THREE else 2
    for start in range(0, len(blocks), size):
        row = blocks[start : start + size]
        grid = Table.grid(expand=True)
        for ratio in ratios[: len(row)]:
            grid.add_column(ratio=ratio)
        grid.add_row(*(_panel(block) for block in row))
        yield grid


def _panel(block: _Block) -> Panel:
    return Panel(block.body, title=Text(block.title, style="bold"), title_align="left", border_style=block.style)


def _changes(text: str, before: str, where: str) -> Text:
    """Return a prompt without the longer runs of lines that stand in another, which is named by ``where``."""
    lines, others = text.splitlines(), before.splitlines()
    found = Text()
    at = 0
    for run in difflib.SequenceMatcher(None, others, lines, autojunk=False).get_matching_blocks():
        if 0 < run.size < _ALIKE:
            continue
        found.append("".join(safe(line) + "\n" for line in lines[at : run.b]))
        if run.size:
            found.append(f"[{run.size} lines as {where}]\n", style="dim")
        at = run.b + run.size
    found.rstrip()
    return found


def _item(record: Record, answer: str) -> str:
    """Return a seed as a person reads it."""
    lines = [record["context"], record["question"], *(f"- {option}" for option in record["options"] or [])]
    return "\n".join([*filter(None, lines), *(record["tests"] or []), f"=> {answer}"])


def _plain(text: str, style: str = "") -> Text:
    return Text(safe(text), style=style)


def _short(text: str) -> str:
    """Return an answer on one line, for counting; in full it stands in the reply."""
    line = safe(" ".join(text.split()))
    return line if len(line) <= _LINE else line[: _LINE - 4] + " ..."


def _system(turn: Turn) -> str:
    return "\n\n".join(message["content"] for message in turn.messages if message["role"] == "system")


def _user(turn: Turn) -> str:
    """Return what the first turn says after the system prompt."""
    return next((message["content"] for message in turn.messages if message["role"] == "user"), "")
