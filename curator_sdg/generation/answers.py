"""Step 4: a teacher answers each question several times, with reasoning and knowledge, and the samples vote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curator_sdg.config import EnrichSection, Sampling
from curator_sdg.generation.asking import AskTeacher, token_counts
from curator_sdg.generation.parsing import parse_reply
from curator_sdg.generation.prompts import Prompts, enrichment_messages, prompt_choice
from curator_sdg.generation.repair import Asked
from curator_sdg.generation.replies import answer_schema
from curator_sdg.generation.traces import best_traces, shown_order
from curator_sdg.generation.voting import Ballot, Tally, Vote, tally
from curator_sdg.ledger import Account
from curator_sdg.records import ANSWER, QUESTION, Record, Style
from curator_sdg.teacher.base import Completion, Failure, Refusal, Request
from curator_sdg.verifiers import VERIFIERS, bare_code, match_option, usable


@dataclass
class EnrichAnswers(AskTeacher):
    """Answers questions (schema ``QUESTION``) by ``config.samples`` votes (schema ``ANSWER``).

    Samples rotate through ``config.styles``. Multiple-choice options are shown unlettered and in another order to
    each sample. A question is accepted iff winner / k > ``config.min_share`` and there is no tie, k being all
    settled samples; else it is a reject: ``no_majority``, or what most samples had in common (``several_right``,
    ``unanswerable``, ``cut``, ``garbage``, ``schema``, ``off_list``, ``refused``). If one sample failed in
    transport, the whole question is pending.
    """

    config: EnrichSection = field(default_factory=EnrichSection)
    name: str = "enrich_answers"

    step: ClassVar[str] = "enrich"
    record_schema = QUESTION
    result_schema = ANSWER

    def __post_init__(self) -> None:
        self.prompts = Prompts("enrich", self.config.prompts)

    @property
    def sampling(self) -> Sampling:
        """How answers are sampled."""
        return self.config.sampling

    @property
    def repair_attempts(self) -> int:
        """Correction turns a sample."""
        return self.config.repair_attempts

    @property
    def required(self) -> Iterable[str]:
        """Columns that the prompts are made from."""
        return ("question_id", "framing", "language", "question", "answer_format")

    def style(self, sample: int) -> Style:
        """Return the style that a sample is asked for."""
        return self.config.styles[sample % len(self.config.styles)]

    def requests(self, record: Record, account: Account) -> Iterable[Request]:
        """Return one request a vote: separate ones, for no two show the options in the same order."""
        choice = prompt_choice(record)
        if choice is None:
            kind = f"{record['framing']}, {record['answer_format']}, context: {bool(record['context'])}"
            account.reject(record, stage=self.name, reason="no_prompt", detail=kind)
            return
        for sample in range(self.config.samples):
            style, order = self.style(sample), shown_order(record, self.seed, sample)
            options = [record["options"][i] for i in order] if order is not None else None
            yield self.request(
                record["question_id"],
                sample,
                enrichment_messages(self.prompts, choice, record, style, options),
                _schema(record, style),
            )

    def settle(self, record: Record, answers: Sequence[Asked], account: Account) -> Iterable[Record]:
        """Return the question with its answer, where the votes agree on one."""
        if not answers:
            return
        outcomes = [answer.outcome for answer in answers]
        if failed := [outcome for outcome in outcomes if isinstance(outcome, Failure)]:
            detail = f"{len(failed)} of {len(outcomes)} samples failed; first: {failed[0].detail}"
            account.postpone(record, stage=self.name, reason=failed[0].reason, detail=detail)
            return
        tokens = token_counts(turn for answer in answers for turn in answer.turns)
        spent = {"enrich_tokens": tokens}
        settled = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
        replies = [self.read(record, sample, outcome) for sample, outcome in enumerate(settled)]
        votes = [vote for vote, _ in replies]
        verifier = VERIFIERS[record["answer_format"]]
        result = tally(votes, verifier.equal, self.config.min_share)
        winner = result.winner
        if winner is None:
            detail = _describe(result, votes)
            what = {"reason": result.reason or "", "detail": detail, "raw": _raw(settled)}
            account.reject(record, stage=self.name, tokens=spent, **what)
            return
        agrees = verifier.equal(winner.answer, _proposed(record))
        if self.config.require_agreement and not agrees:
            detail = f"the generator proposed {record['proposed_answer']!r}; {_describe(result, votes)}"
            what = {"reason": "disagrees", "detail": detail, "raw": _raw(settled)}
            account.reject(record, stage=self.name, tokens=spent, **what)
            return
        yield {
            **record,
            "answer": winner.answer,
            "votes": [{"answer": ballot.answer, "count": len(ballot.samples)} for ballot in result.ballots],
            "k": result.k,
            "n_parsed": sum(content is not None for _, content in replies),
            "share": result.share,
            "margin": result.margin,
            "agrees": agrees,
            "verifier": verifier.name,
            "verdict": "majority",
            "traces": self._traces(record, winner, [content for _, content in replies]),
            "solver": self.teacher.model,
            "enrich_tokens": tokens,
        }

    def read(self, record: Record, sample: int, outcome: Completion | Refusal) -> tuple[Vote, dict[str, Any] | None]:
        """Return one sample's vote, and its content where it could be read."""
        if isinstance(outcome, Refusal):
            return Vote(sample, "refused"), None
        value, reason, _ = parse_reply(outcome, _schema(record, self.style(sample)))
        if value is None:
            return Vote(sample, reason or "garbage"), None
        if value["status"] != "answered":
            return Vote(sample, value["status"]), value
        answer: str = value["answer"]
        if record["options"]:
            meant = match_option(record["options"], answer)
            return Vote(sample, "off_list") if meant is None else _vote(sample, record["options"][meant]), value
        if record["answer_format"] == "code":
            answer = bare_code(answer)
        return _vote(sample, answer) if usable(record, answer) else Vote(sample, "schema"), value

    def _traces(
        self, record: Record, winner: Ballot, contents: Sequence[dict[str, Any] | None]
    ) -> list[dict[str, Any]]:
        agreeing = [
            (sample, self.style(sample), content)
            for sample in winner.samples
            if (content := contents[sample]) is not None
        ]
        return best_traces(record, winner.answer, agreeing, self.seed)


def _vote(sample: int, answer: str) -> Vote:
    return Vote(sample, "answered", answer)


def _proposed(record: Record) -> str:
    """Return the generator's answer, in the words of the option that it means."""
    proposed: str = record["proposed_answer"] or ""
    meant = match_option(record["options"] or [], proposed)
    return proposed if meant is None else record["options"][meant]


def _schema(record: Record, style: Style) -> dict[str, Any]:
    return answer_schema(style, distractors=record["answer_format"] == "option")


def _describe(result: Tally, votes: Sequence[Vote]) -> str:
    """Return the vote in one line: the counted answers, then what gave none."""
    counted = [f"{len(ballot.samples)}x {ballot.answer!r}" for ballot in result.ballots]
    others = [vote.outcome for vote in votes if vote.answer is None]
    counted += [f"{others.count(outcome)}x {outcome}" for outcome in dict.fromkeys(others)]
    return f"{result.k} samples: " + ", ".join(counted)


def _raw(outcomes: Sequence[Completion | Refusal]) -> str:
    texts = [outcome.text if isinstance(outcome, Completion) else outcome.detail for outcome in outcomes]
    return json.dumps(texts, ensure_ascii=False)
