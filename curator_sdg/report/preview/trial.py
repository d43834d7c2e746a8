"""Seeds through the stages of a run, in this process, with every prompt and reply kept for the reader.

The stages are those of a run and know nothing of it: they work on a run directory that is thrown away, but for its
journal, and the dispatcher that they ask is listened to.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nemo_curator.backends.base import BaseStageAdapter, NodeInfo, WorkerMetadata

from curator_sdg.config import Config
from curator_sdg.curation.dedup.exact import ExactDedup, write_kept
from curator_sdg.errors import AskingEnded, StoreError, TeacherError
from curator_sdg.generation.answers import EnrichAnswers
from curator_sdg.generation.asking import AskTeacher
from curator_sdg.generation.parsing import parse_reply
from curator_sdg.generation.prompts import prompt_choice
from curator_sdg.ledger import Account, planned_name
from curator_sdg.records import SEED, Record, to_table
from curator_sdg.report.preview.records import ExampleTrial, QuestionTrial, SeedTrial, Turn, Verdict, VoteTrial
from curator_sdg.rundir import INPUTS, RunDir
from curator_sdg.shards import shard_task
from curator_sdg.steps import Context, Stages, step_stages
from curator_sdg.store import PENDING, REJECTS, Shard, publish_shard, read_rows, read_shard, shard_name
from curator_sdg.teacher import Completion, Dispatcher, Failure, Outcome, Refusal, Request, ShardJournal

_NAME = shard_name(0, 1)  # all previews share the journal of one shard, so that none pays for what another asked
_STEPS = ("generate", "dedup", "enrich", "curate", "package")

Tell = Callable[[str], None]


def try_out(config: Config, seeds: Sequence[Record], journal: Path, tell: Tell = lambda _: None) -> list[SeedTrial]:
    """Have questions written after seeds, checked, answered, filtered and rendered as a run would.

    Args:
        config: The run's configuration; its directory is not touched, and its budget does not hold.
        seeds: Records of the schema ``SEED``.
        journal: Folder of the replies, apart from the run's: what it knows is not asked again.
        tell: Called with each step before it is done.

    Raises:
        ConfigError: If a prompt, a template or a filter of the user's cannot be used.
        TeacherError: If the teacher of ``generate`` cannot be used; what could not be answered for that of ``enrich``
            is pending.
        AskingEnded: If the teacher of ``generate`` fails too often.
        StoreError: If a reply cannot be kept.
    """
    try:
        journal.mkdir(parents=True, exist_ok=True)  # before anything is paid for
    except OSError as error:
        raise StoreError(
            f"{journal}: cannot be made ({error.strerror}); choose another place with --set run.dir=DIR"
        ) from error
    with tempfile.TemporaryDirectory(prefix="curator-sdg-preview-") as folder:
        trial = _Trial(config, _Aside(Path(folder), journal), tell)
        trial.run(seeds)
        return [trial.of_seed(seed) for seed in seeds]


@dataclass(frozen=True)
class _Aside(RunDir):
    """A run directory that is thrown away, but for its journal."""

    kept: Path

    @property
    def journal(self) -> Path:
        """The folder of what the teacher replied to any preview."""
        return self.kept


class _Heard(NamedTuple):
    """One request and what came of it, as the stage that asked saw it."""

    request: Request
    outcome: Outcome
    known: bool


class _Ear:
    """Stands between a stage and its dispatcher, and remembers what passes."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.heard: list[_Heard] = []
        self._dispatcher = dispatcher

    def complete(self, requests: Sequence[Request], journal: ShardJournal | None = None) -> list[Outcome]:
        """See :meth:`Dispatcher.complete`."""
        known = [journal is not None and journal.get(request.key) is not None for request in requests]
        outcomes = self._dispatcher.complete(requests, journal)
        self.heard += map(_Heard, requests, outcomes, known)
        return outcomes


@contextmanager
def _listening(stage: AskTeacher) -> Iterator[_Ear]:
    dispatcher = stage._dispatcher
    stage._dispatcher = ear = _Ear(dispatcher)  # type: ignore[assignment]
    try:
        yield ear
    finally:
        stage._dispatcher = dispatcher  # it is the one that must be given back


class _Trial:
    """Runs the steps, and then tells by seed what came of it."""

    def __init__(self, config: Config, run: _Aside, tell: Tell) -> None:
        self._config, self._run, self._tell = config, run, tell
        self._heard: dict[tuple[str, str, int], list[_Heard]] = defaultdict(list)  # by step, record and sample
        self._rows: dict[str, list[Record]] = defaultdict(list)
        self._lost: dict[str, dict[str, Verdict]] = defaultdict(dict)  # by step, and the row's name in its account
        self._enrich: EnrichAnswers | None = None
        self._unanswered: Verdict | None = None  # of every question, where there is nobody to answer them

    # ---- the steps -----------------------------------------------------------------------------------------------

    def run(self, seeds: Sequence[Record]) -> None:
        """Do every step, as far as there is something left for it."""
        publish_shard(self._run.step("seeds"), to_table(seeds, SEED), Account(_NAME, planned=len(seeds)), "")
        with ExitStack() as stack:
            # All are set up first: steps that share a teacher then share what it takes to reach it.
            steps = {step: self._set_up(step, stack) for step in _STEPS if step != "dedup"}
            left = len(seeds)
            for step in _STEPS:
                if not left:
                    break
                if step == "dedup":
                    self._dedup()
                else:
                    try:
                        self._do(step, *steps[step], left)
                    except (TeacherError, AskingEnded) as error:
                        if step == "generate":
                            raise
                        self._unanswered = Verdict("pending", "", "no_teacher", str(error))
                        break
                left = self._take(step)

    def _set_up(self, step: str, stack: ExitStack) -> tuple[list[BaseStageAdapter], _Ear | None]:
        stages: Stages = step_stages(step, Context(self._config, self._run))
        adapters, ear = [], None
        for stage in stages:
            adapter = BaseStageAdapter(stage)
            adapter.setup_on_node(NodeInfo(), WorkerMetadata())
            adapter.setup(WorkerMetadata())
            stack.callback(adapter.teardown)
            if isinstance(stage, AskTeacher):
                ear = stack.enter_context(_listening(stage))
            if isinstance(stage, EnrichAnswers):
                self._enrich = stage
            adapters.append(adapter)
        return adapters, ear

    def _do(self, step: str, adapters: Sequence[BaseStageAdapter], ear: _Ear | None, rows: int) -> None:
        if ear is not None:
            teacher = self._config.teacher_of("generate" if step == "generate" else "enrich")
            what = "seed" if step == "generate" else "question"
            self._tell(f"{step}: asking {teacher.model} about {rows} {what if rows == 1 else what + 's'}")
        shards = [self._run.step(source) / _NAME for source in INPUTS[step]]
        tasks = [shard_task(step, shards, "")]
        for adapter in adapters:
            tasks = adapter.process_batch(tasks)
        for heard in ear.heard if ear is not None else ():
            self._heard[step, heard.request.record_id, heard.request.sample].append(heard)

    def _dedup(self) -> None:
        seeds, questions = (self._shard(step) for step in ("seeds", "generate"))
        dedup = ExactDedup([seeds])
        write_kept(self._run.step("dedup"), questions, dedup.add([questions])[0], "", "")

    def _take(self, step: str) -> int:
        """Note what came of a step; returns how many rows go on."""
        shard = self._shard(step)
        self._rows[step] = read_rows(shard.path).to_pylist()
        for file, state in ((REJECTS, "rejected"), (PENDING, "pending")):
            for row in read_rows(shard.path, file).to_pylist():
                verdict = Verdict(state, row["stage"], row["reason"], row["detail"])  # type: ignore[arg-type]
                self._lost[step][row["record_id"]] = verdict
        return len(self._rows[step])

    def _shard(self, step: str) -> Shard:
        shard = read_shard(self._run.step(step) / _NAME)
        assert shard is not None  # it was published
        return shard

    # ---- what came of it -----------------------------------------------------------------------------------------

    def of_seed(self, seed: Record) -> SeedTrial:
        """Return one seed with all that came of it."""
        samples = range(self._config.generate.questions_per_seed)
        return SeedTrial(seed, [self._question(seed, sample) for sample in samples])

    def _question(self, seed: Record, sample: int) -> QuestionTrial:
        turns = self._turns("generate", seed, seed["seed_id"], sample)
        verdicts: dict[str, Verdict] = {}
        found = QuestionTrial(sample, turns, verdicts)
        planned = planned_name(seed["seed_id"], sample)
        if not self._goes_on("generate", planned, verdicts):
            return found
        question = next(
            row for row in self._rows["generate"] if (row["seed_id"], row["sample"]) == (seed["seed_id"], sample)
        )
        name = question["question_id"]
        found = QuestionTrial(sample, turns, verdicts, question)
        if not self._goes_on("dedup", name, verdicts):
            return found
        if self._unanswered is not None:
            verdicts["enrich"] = self._unanswered
            return found
        answered = self._goes_on("enrich", name, verdicts)
        answer = next((row for row in self._rows["enrich"] if row["question_id"] == name), None)
        found = QuestionTrial(sample, turns, verdicts, question, self._votes(question), answer)
        if answered and self._goes_on("curate", name, verdicts):
            found.examples.extend(self._examples(name))
        return found

    def _goes_on(self, step: str, name: str, verdicts: dict[str, Verdict]) -> bool:
        lost = self._lost[step].get(name)
        verdicts[step] = lost or Verdict("accepted")
        return lost is None

    def _votes(self, question: Record) -> list[VoteTrial]:
        votes = []
        for sample in range(self._config.enrich.samples):
            heard = self._heard["enrich", question["question_id"], sample]
            if not heard:  # it was not sent
                continue
            assert self._enrich is not None
            outcome = _counting(heard)
            style = self._enrich.style(sample)
            turns = self._turns("enrich", question, question["question_id"], sample)
            if isinstance(outcome, Failure):
                votes.append(VoteTrial(sample, style, "pending", None, turns))
            else:
                vote, _ = self._enrich.read(question, sample, outcome)
                votes.append(VoteTrial(sample, style, vote.outcome, vote.answer, turns))
        return votes

    def _examples(self, question_id: str) -> Iterator[ExampleTrial]:
        texts = {row["variant"]: row["text"] for row in self._rows["package"] if row["question_id"] == question_id}
        for variant in self._config.package.variants:
            lost = self._lost["package"].get(f"{question_id}-{variant}")
            yield ExampleTrial(variant, lost or Verdict("accepted"), texts.get(variant))

    def _turns(self, step: str, record: Record, record_id: str, sample: int) -> list[Turn]:
        choice = prompt_choice(record)
        template = "" if choice is None else f"{step}/{getattr(choice, step)}.j2"
        return [_turn(template, heard) for heard in self._heard[step, record_id, sample]]


def _counting(heard: Sequence[_Heard]) -> Outcome:
    """Return the outcome that counts, of a request and its corrections: one that was refused leaves what was."""
    last = heard[-1].outcome
    return heard[-2].outcome if isinstance(last, Refusal) and len(heard) > 1 else last


def _turn(template: str, heard: _Heard) -> Turn:
    request, outcome, known = heard
    asked: Mapping[str, Any] = {
        "template": template,
        "model": request.model,
        "messages": request.messages,
        "sampling": request.sampling,
        "known": known,
    }
    if isinstance(outcome, Refusal):
        return Turn(**asked, fault=f"refused: {outcome.detail}")
    if isinstance(outcome, Failure):
        return Turn(**asked, fault=f"{outcome.reason}: {outcome.detail}")
    assert isinstance(outcome, Completion)
    parsed = parse_reply(outcome, request.schema) if request.schema is not None else None
    fault = None if parsed is None or parsed.reason is None else f"{parsed.reason}: {parsed.detail}"
    return Turn(
        **asked,
        reply=outcome.text,
        reasoning=outcome.reasoning,
        finish_reason=outcome.finish_reason,
        prompt_tokens=outcome.prompt_tokens,
        cached_tokens=outcome.cached_tokens,
        completion_tokens=outcome.completion_tokens,
        fault=fault,
    )
