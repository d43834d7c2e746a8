"""Curator's own document filters in our chain: each drop with its reason.

Curator's ``ScoreFilter`` drops rows without a trace. Here its ``Score`` writes the filter's score into a column, and
``KeepByScore`` asks the filter's own ``keep_document`` what to do with it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.stages.text.filters import DocumentFilter, Score
from nemo_curator.tasks import DocumentBatch

from curator_sdg.config import FilterChoice
from curator_sdg.errors import ConfigError
from curator_sdg.ledger import account_of
from curator_sdg.records import CURATED, Record, to_records

TEXT = "text"


@dataclass
class ComposeText(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Adds a column with all the prose of an answered question, for filters that judge text."""

    column: str = TEXT
    name: str = "compose_text"

    def inputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch must have."""
        return ["data"], ["question", "answer", "traces"]

    def outputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch then has."""
        return ["data"], [self.column]

    def process(self, task: DocumentBatch) -> DocumentBatch:
        """Return the batch with its text."""
        table = task.to_pyarrow()
        texts = [compose_text(record) for record in to_records(table, CURATED)]
        task.data = table.append_column(self.column, pa.array(texts, pa.string()))
        return task


def compose_text(record: Record) -> str:
    """Return question, explanations and answer as one text."""
    parts = [record["context"], record["question"]]
    for trace in record["traces"] or []:
        parts += [trace["knowledge"], trace["reasoning"], *(item["why"] for item in trace["distractors"] or [])]
    return "\n\n".join([*filter(None, parts), record["answer"]])


@dataclass
class FillText(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Adds a column with the texts of another, an empty one for null: Curator's filters cannot read null."""

    source: str
    column: str
    name: str = "fill_text"

    def inputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch must have."""
        return ["data"], [self.source]

    def outputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch then has."""
        return ["data"], [self.column]

    def process(self, task: DocumentBatch) -> DocumentBatch:
        """Return the batch with the column."""
        table = task.to_pandas()
        task.data = table.assign(**{self.column: table[self.source].fillna("")})
        return task


@dataclass
class KeepByScore(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Keeps the rows whose score a Curator filter accepts; the others are rejects, the filter's name the reason.

    A row without the text that is judged (a question without a context, say) is kept.
    """

    document_filter: DocumentFilter
    score_column: str
    text_column: str
    name: str = "keep_by_score"

    def inputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch must have."""
        return ["data"], ["question_id"]

    def outputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch then has."""
        return ["data"], []

    def process(self, task: DocumentBatch) -> DocumentBatch:
        """Return the batch without what the filter does not keep."""
        account = account_of(task)
        table = task.to_pandas()
        if table.empty:  # Curator's Score leaves an empty batch without the column
            return task
        keep = table[self.score_column].apply(self.document_filter.keep_document).astype(bool)
        keep |= table[self.text_column].isna()
        for row in table[~keep].to_dict("records"):
            score = row[self.score_column]
            detail = f"score {score:.4g}" if isinstance(score, float) else f"score {score}"
            account.reject(row, stage=self.name, reason=self.name, detail=detail, raw=row[self.text_column])
        task.data = table[keep].drop(columns=self.score_column)
        return task


@dataclass
class ToCurated(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Brings a batch that went through other people's stages back to the schema ``CURATED``."""

    name: str = "to_curated"

    def inputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch must have."""
        return ["data"], CURATED.names

    def outputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch then has."""
        return ["data"], CURATED.names

    def process(self, task: DocumentBatch) -> DocumentBatch:
        """Return the batch in the record's own columns and types."""
        data: Any = task.data
        if isinstance(data, pd.DataFrame):
            data = pa.Table.from_pandas(data[CURATED.names], schema=CURATED, preserve_index=False)
        task.data = data.select(CURATED.names).cast(CURATED).replace_schema_metadata(None)
        return task


def filter_stages(choices: Sequence[FilterChoice]) -> list[ProcessingStage[DocumentBatch, DocumentBatch]]:
    """Return ``Score`` and ``KeepByScore`` for each filter of the configuration.

    Raises:
        ConfigError: If a class cannot be found, is no filter of Curator's, or does not take its arguments.
    """
    stages: list[ProcessingStage[DocumentBatch, DocumentBatch]] = []
    for i, choice in enumerate(choices):
        document_filter = load_filter(choice, f"curate.filters.{i}")
        name = choice.filter.rpartition(":")[2]
        column = f"score_{i}_{name}"
        filled = f"text_{i}"
        score = Score(document_filter, score_field=column, text_field=filled).with_(name=f"score_{i}_{name}")
        stages += [FillText(choice.field, filled, name=f"fill_{i}_{choice.field}"), score]
        stages += [KeepByScore(document_filter, column, choice.field, name=name)]
    return stages


def load_filter(choice: FilterChoice, where: str) -> DocumentFilter:
    """Return the filter that a configuration names.

    Raises:
        ConfigError: Naming ``where`` and what is wrong.
    """
    module, _, attribute = choice.filter.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}.filter: {choice.filter!r} cannot be imported: {error}") from None
    if not (isinstance(kind, type) and issubclass(kind, DocumentFilter)):
        raise ConfigError(f"{where}.filter: {choice.filter!r} is no DocumentFilter of NeMo Curator's")
    try:
        return kind(**choice.args)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}.args: {attribute} does not take them: {error}") from None
