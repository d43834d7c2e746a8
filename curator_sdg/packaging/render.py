"""Step 5, last part: an answered question becomes text to train on, once a variant.

``answer`` is the question and its answer, ``reasoning`` has the step-by-step trace before the answer, ``context`` the
knowledge that the question rests on. Options get letters here for the first time, in the order that the kept vote was
shown, so that nothing in a trace speaks of another order than the one printed.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_sdg.config import PackageSection
from curator_sdg.errors import ConfigError
from curator_sdg.identity import seeded_permutation, stable_hash, tidy
from curator_sdg.ledger import account_of
from curator_sdg.records import CURATED, EXAMPLE, Record, Style, Variant, to_records, to_table
from curator_sdg.verifiers import same_label

_FOLDER = Path(__file__).parent / "templates"
_STYLE: dict[Variant, Style] = {"reasoning": "reasoning", "context": "knowledge"}
_CARRIED = (
    *("question_id", "seed_id", "kind", "output_type", "framing", "depth", "group", "family", "task", "domain"),
    *("language", "answer_format", "k", "share", "margin", "teacher", "solver", "source", "flags"),
)


class Templates:
    """The templates that examples are rendered by, some of them perhaps the user's own.

    Each has two blocks, ``prompt`` and ``reply``: the text is both, the messages are one each.

    Raises:
        ConfigError: If the user's folder is missing.
    """

    def __init__(self, override: Path | None = None) -> None:
        if override is not None and not override.is_dir():
            raise ConfigError(f"package.templates: {override.absolute()} is no folder")
        self.override = override
        folders = [_FOLDER] if override is None else [override, _FOLDER]
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,  # of an included part
            autoescape=False,  # noqa: S701 - plain text to train on, no markup
        )

    def render(self, variant: Variant, **variables: Any) -> tuple[str, str]:
        """Return the prompt and the reply of one example.

        Raises:
            ConfigError: If a template of the user's cannot be rendered.
        """
        try:
            template = self._environment.get_template(f"{variant}.j2")
            context = template.new_context(variables)
            prompt, reply = ("".join(template.blocks[block](context)) for block in ("prompt", "reply"))
        except KeyError as error:
            raise ConfigError(f"package.templates: {variant}.j2 has no block {error}") from None
        except jinja2.TemplateError as error:
            raise ConfigError(f"package.templates: {variant}.j2: {error}") from None
        return tidy(prompt), tidy(reply)

    @cached_property
    def hash(self) -> str:
        """A digest of every template as it is used, for the step's fingerprint."""
        names = self._environment.list_templates(extensions=["j2"])
        return stable_hash([[name, self._environment.loader.get_source(self._environment, name)[0]] for name in names])  # type: ignore[union-attr]

    def __getstate__(self) -> dict[str, Any]:
        # Compiled templates do not pickle; a worker compiles its own.
        return {"override": self.override}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["override"])  # type: ignore[misc]


@dataclass
class RenderExamples(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Turns answered questions (schema ``CURATED``) into examples (schema ``EXAMPLE``), one for each variant.

    A variant whose trace is missing is a reject with the reason ``no_trace``.

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
            for variant in self.config.variants:
                example = self.example(record, variant)
                if example is None:
                    account.reject(
                        record,
                        stage=self.name,
                        reason="no_trace",
                        detail=f"no trace for the variant {variant!r} agrees with the vote without citing labels",
                        key=f"{record['question_id']}-{variant}",
                        raw=record["question"],
                    )
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
        position = next((i for i, o in enumerate(lettered) if same_label(o["text"], record["answer"])), None)
        answer = record["answer"] if position is None else f"{lettered[position]['letter']}. {record['answer']}"
        prompt, reply = self.templates.render(variant, record=record, trace=trace, lettered=lettered, answer=answer)
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


def _letter(record: Record, order: list[int]) -> Iterator[dict[str, str]]:
    for letter, i in zip(string.ascii_uppercase, order, strict=False):
        yield {"letter": letter, "text": record["options"][i]}
