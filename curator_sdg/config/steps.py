"""The sections of the steps from generating to packaging."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from curator_sdg.config.base import Section, Share
from curator_sdg.config.teacher import Sampling


class GenerateSection(Section):
    """Step 3: new questions."""

    teacher: str | None = Field(None, description="Who writes: a name of `teachers`; null: `teacher`.")
    questions_per_seed: int = Field(1, ge=1)
    repair_attempts: int = Field(
        0, ge=0, description="Turns in which a reply that does not validate may be put right."
    )
    sampling: Sampling = Sampling(temperature=0.9)
    prompts: Path | None = Field(None, description="A folder whose templates replace those of the same name.")


class EnrichSection(Section):
    """Step 4: answers with reasoning and knowledge, voted on."""

    teacher: str | None = Field(None, description="Who answers: a name of `teachers`; null: `teacher`.")
    samples: int = Field(5, ge=1, description="Votes a question.")
    repair_attempts: int = Field(
        0, ge=0, description="Turns in which a reply that does not validate may be put right."
    )
    min_share: float = Field(0.5, ge=0, lt=1, description="The winner must have more than this share of all samples.")
    styles: tuple[Literal["knowledge", "reasoning"], ...] = Field(
        ("knowledge", "reasoning"), min_length=1, description="Samples rotate through these."
    )
    require_agreement: bool = Field(False, description="Reject where the vote is not the generator's answer.")
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=3072)
    prompts: Path | None = Field(None, description="A folder whose templates replace those of the same name.")


class FilterChoice(Section):
    """One of Curator's document filters, by class path."""

    filter: str = Field(description="package.module:Class of a Curator DocumentFilter.")
    args: dict[str, Any] = Field(default_factory=dict)
    field: Literal["text", "question", "context", "answer"] = "text"


class CurateSection(Section):
    """Step 5: what is kept."""

    # Two rows of one task rarely share a tenth of their 3-grams, a row and its paraphrase half of them.
    max_seed_overlap: Share = Field(0.4, description="Share of a question's word 3-grams that its own seed may hold.")
    filters: tuple[FilterChoice, ...] = Field(
        (
            FilterChoice(
                filter="nemo_curator.stages.text.filters.heuristic:WordCountFilter",
                args={"min_words": 30, "max_words": 4000},
            ),
        ),
        description="NeMo Curator's document filters, in this order.",
    )


class PackageSection(Section):
    """What leaves the run."""

    variants: tuple[Literal["answer", "reasoning", "context"], ...] = Field(
        ("answer", "reasoning", "context"), min_length=1
    )
    formats: tuple[Literal["jsonl", "parquet"], ...] = Field(("jsonl", "parquet"), min_length=1)
    templates: Path | None = Field(None, description="A folder whose templates replace those of the same name.")
