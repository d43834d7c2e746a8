"""Step 5, last part: an answered question becomes text to train on, once a variant.

``answer`` is the question and its answer, ``reasoning`` has the step-by-step trace before the answer, ``context`` the
knowledge that the question rests on. Options get letters here for the first time, in the order that the kept vote was
shown, so that nothing in a trace speaks of another order than the one printed.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_sdg.config import PackageSection
from curator_sdg.identity import seeded_permutation, stable_hash
from curator_sdg.ledger import account_of
from curator_sdg.records import CURATED, EXAMPLE, TOKEN_COLUMNS, Record, Style, Variant, to_records, to_table
from curator_sdg.templates import BlockTemplates
from curator_sdg.verifiers import match_option

_FOLDER = Path(__file__).parent / "templates"
_STYLE: dict[Variant, Style] = {"reasoning": "reasoning", "context": "knowledge"}
_CARRIED = (
    *("question_id", "seed_id", "kind", "output_type", "framing", "depth", "group", "family", "task", "domain"),
    *("language", "answer_format", "k", "share", "margin", "teacher", "solver", "source", "flags", *TOKEN_COLUMNS),
)
_NONE_OF_ITS_OWN: dict[str, None] = {column: None for column in TOKEN_COLUMNS}  # noqa: C420 - typed by its keys else


class Templates(BlockTemplates):
    """The templates that examples are rendered by, one a variant, some of them perhaps the user's own.

    Each has two blocks, ``prompt`` and ``reply``: the text is both, the messages are one each.

    Raises:
        ConfigError: If the user's folder is missing, or holds a file that is no such template.
    """

    def __init__(self, override: Path | None = None) -> None:
        super().__init__("package.templates", _FOLDER, ("prompt", "reply"), override)


@dataclass
class RenderExamples(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Turns answered questions (schema ``CURATED``) into examples (schema ``EXAMPLE``), one for each variant.

    A variant whose trace is missing is a reject with the reason ``no_trace``. Its question was paid for once: a reject
    carries the tokens only where no variant is left that does, and then the first one.

    Attributes:
        config: Which variants, by which templates.
        seed: The run's seed, for the order of options where no trace fixes it.
        obligations: What the terms of the teachers ask of their output.
    """

    config: PackageSection
    seed: int = 0
    obligations: tuple[str, ...] = ()
    name: str = "render_examples"

    def __post_init__(self) -> None:
        self.templates = Templates(self.config.templates)

    def inputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch must have."""
        return ["data"], ["question_id", "question", "answer", "traces"]

    def outputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch then has."""
        return ["data"], EXAMPLE.names

    def process(self, task: DocumentBatch) -> DocumentBatch:
        """Return the batch of examples; a question yields as many as there are variants."""
        account = account_of(task)
        examples = []
        for record in to_records(task.to_pyarrow(), CURATED):
            made = [(variant, self.example(record, variant)) for variant in self.config.variants]
            lost = all(example is None for _, example in made)
            for variant, example in made:
                if example is None:
                    account.reject(
                        record,
                        stage=self.name,
                        reason="no_trace",
                        detail=f"no trace for the variant {variant!r} agrees with the vote without citing labels",
                        key=f"{record['question_id']}-{variant}",
                        raw=record["question"],
                        tokens=None if lost else _NONE_OF_ITS_OWN,
                    )
                    lost = False
                else:
                    examples.append(example)
        return DocumentBatch(
            dataset_name=task.dataset_name,
            data=to_table(examples, EXAMPLE),
            _metadata=task._metadata,
            _stage_perf=task._stage_perf,
        )

    def example(self, record: Record, variant: Variant) -> Record | None:
        """Return one example, or null where the variant's trace is missing."""
        trace = None
        if variant in _STYLE:
            trace = next((t for t in record["traces"] or [] if t["style"] == _STYLE[variant]), None)
            if trace is None:
                return None
        lettered = list(_letter(record, self._order(record, variant, trace)))
        position = match_option([option["text"] for option in lettered], record["answer"])
        answer = record["answer"] if position is None else f"{lettered[position]['letter']}. {record['answer']}"
        prompt, reply = self.templates.render(
            variant, record=record, trace=trace, lettered=lettered, labels=_unnamed_labels(record), answer=answer
        )
        obligations = {*(record["source"]["obligations"] or ()), *self.obligations}
        return {
            "example_id": stable_hash(record["question_id"], variant, prompt, reply),
            "variant": variant,
            "text": f"{prompt}\n\n{reply}",
            "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}],
            "answer": record["answer"],
            "answer_position": position,
            "obligations": sorted(obligations),
            **{name: record[name] for name in _CARRIED},
        }

    def _order(self, record: Record, variant: Variant, trace: Record | None) -> list[int]:
        """Return the order in which the options are printed."""
        if not record["options"] or record["answer_format"] != "option":
            return []
        if trace is not None:
            order: list[int] = trace["permutation"]
            return order
        return seeded_permutation(len(record["options"]), self.seed, "package", variant, record["question_id"])


def _unnamed_labels(record: Record) -> list[str]:
    """Return a fixed set of labels that the question does not name itself."""
    if record["answer_format"] != "label":
        return []
    question = record["question"].casefold()
    named = all(label.casefold() in question for label in record["options"])
    return [] if named else list(record["options"])


def _letter(record: Record, order: list[int]) -> Iterator[dict[str, str]]:
    for letter, i in zip(string.ascii_uppercase, order, strict=False):
        yield {"letter": letter, "text": record["options"][i]}


def check_templates(stage: RenderExamples) -> None:
    """Render an example of each kind and variant, so that a mistake in a template shows before anything is paid for.

    Raises:
        ConfigError: Naming the template that cannot be rendered.
    """
    record = {
        **dict.fromkeys(CURATED.names, "text"),
        "answer": "one",
        "source": {"obligations": []},
        "traces": [
            {
                "style": style,
                "knowledge": "text",
                "reasoning": "text",
                "distractors": [{"option": "two", "why": "text"}],
                "permutation": [1, 0],
            }
            for style in ("knowledge", "reasoning")
        ],
    }
    kinds = [
        {"framing": "selection", "answer_format": "option", "options": ["one", "two"], "tests": None},
        {"framing": "completion", "answer_format": "option", "options": ["one", "two"], "tests": None},
        {"framing": "classification", "answer_format": "label", "options": ["one", "two"], "tests": None},
        {"framing": "code", "answer_format": "code", "options": None, "tests": ["assert f(1) == 1"]},
    ]
    for kind in kinds:
        for variant in stage.config.variants:
            stage.example({**record, **kind, "context": None}, variant)
