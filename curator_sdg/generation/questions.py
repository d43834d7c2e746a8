"""Step 3: a teacher writes new questions after the seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curator_sdg.config import GenerateSection, Sampling
from curator_sdg.generation.asking import AskTeacher, token_counts
from curator_sdg.generation.parsing import parse_reply
from curator_sdg.generation.prompts import Prompts, generation_messages, prompt_choice
from curator_sdg.generation.repair import Asked
from curator_sdg.generation.replies import question_schema
from curator_sdg.identity import question_identity, seeded_index, seeded_permutation, stable_hash
from curator_sdg.ledger import Account, planned_name
from curator_sdg.records import QUESTION, SEED, Record
from curator_sdg.teacher.base import Failure, Refusal, Request
from curator_sdg.verifiers import bare_code

_CARRIED = (
    *("seed_id", "kind", "output_type", "framing", "depth", "group", "family", "task", "domain", "language"),
    *("answer_format", "source"),
)


@dataclass
class GenerateQuestions(AskTeacher):
    """Turns seeds (schema ``SEED``) into new questions of the same capability (schema ``QUESTION``).

    ``config.questions_per_seed`` questions are asked for each seed. What cannot be used is a reject with the reason
    ``cut``, ``garbage``, ``schema``, ``refused`` or ``no_prompt``, and the reply as it came.
    """

    config: GenerateSection = field(default_factory=GenerateSection)
    name: str = "generate_questions"

    step: ClassVar[str] = "generate"
    record_schema = SEED
    result_schema = QUESTION

    def __post_init__(self) -> None:
        self.prompts = Prompts("generate", self.config.prompts)

    @property
    def fan_out(self) -> int:
        """Questions that are planned for each seed."""
        return self.config.questions_per_seed

    @property
    def sampling(self) -> Sampling:
        """How new questions are sampled."""
        return self.config.sampling

    @property
    def repair_attempts(self) -> int:
        """Correction turns a question."""
        return self.config.repair_attempts

    @property
    def required(self) -> Iterable[str]:
        """Columns that the prompts are made from."""
        return ("seed_id", "framing", "depth", "domain", "language", "question", "answer", "answer_format")

    def target_label(self, seed: Record, sample: int) -> str | None:
        """Return the label that a new classification item must have: drawn, so that labels come out even."""
        if seed["framing"] != "classification":
            return None
        labels: list[str] = seed["options"]
        return labels[seeded_index(len(labels), self.seed, "label", seed["seed_id"], sample)]

    def slot(self, record_id: str, sample: int) -> str:
        """Return the name of a question that was planned, whatever became of it."""
        return planned_name(record_id, sample)

    def requests(self, record: Record, account: Account) -> Iterable[Request]:
        """Return one request for each question wanted of a seed."""
        choice = prompt_choice(record)
        for sample in range(self.config.questions_per_seed):
            if choice is None:
                kind = f"{record['framing']}, {record['answer_format']}, context: {bool(record['context'])}"
                key = self.slot(record["seed_id"], sample)
                account.reject(record, stage=self.name, reason="no_prompt", detail=kind, key=key)
                continue
            target = self.target_label(record, sample)
            angle = self.prompts.angle(record, self.seed, sample)
            yield self.request(
                record["seed_id"],
                sample,
                generation_messages(self.prompts, choice, record, target, angle),
                question_schema(choice.fields, record, target),
            )

    def settle(self, record: Record, answers: Sequence[Asked], account: Account) -> Iterable[Record]:
        """Return the new questions of a seed."""
        choice = prompt_choice(record)
        for sample, (outcome, turns) in enumerate(answers):
            key, tokens = self.slot(record["seed_id"], sample), token_counts(turns)
            if isinstance(outcome, Failure):
                account.postpone(record, stage=self.name, reason=outcome.reason, detail=outcome.detail, key=key)
                continue
            spent = {"generate_tokens": tokens}
            if isinstance(outcome, Refusal):
                detail = outcome.detail
                account.reject(record, stage=self.name, reason="refused", detail=detail, key=key, tokens=spent)
                continue
            assert choice is not None  # without a choice there was no request
            target = self.target_label(record, sample)
            value, reason, detail = parse_reply(outcome, question_schema(choice.fields, record, target))
            if value is None:
                what = {"reason": reason or "", "detail": detail, "raw": outcome.text}
                account.reject(record, stage=self.name, key=key, tokens=spent, **what)
                continue
            yield self._question(record, sample, value, tokens)

    def _question(self, seed: Record, sample: int, reply: dict[str, Any], tokens: dict[str, int | None]) -> Record:
        content = {
            "question": reply["question"],
            "context": reply.get("context"),
            "options": reply.get("options"),
            "tests": reply.get("tests"),
        }
        question_id = stable_hash(seed["seed_id"], sample, content, reply["answer"])
        if seed["framing"] == "classification":
            content["options"] = seed["options"]  # a fixed set of labels keeps its order
        elif content["options"]:
            # The order in which a teacher writes options tells where it likes to put the right one.
            order = seeded_permutation(len(content["options"]), self.seed, "options", question_id)
            content["options"] = [content["options"][i] for i in order]
        return {
            "question_id": question_id,
            "sample": sample,
            **{name: seed[name] for name in _CARRIED},
            **content,
            "identity": question_identity(content["question"], content["context"], content["options"]),
            "proposed_answer": bare_code(reply["answer"]) if seed["answer_format"] == "code" else reply["answer"],
            "teacher": self.teacher.model,
            "prompt_hash": self.prompts.hash,
            "generate_tokens": tokens,
            "flags": [],
        }
