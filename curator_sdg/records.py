"""The records that flow between the steps, one Arrow schema each.

A record travels as one row of a ``DocumentBatch``; inside a stage it is a plain ``dict`` with exactly the
schema's keys. Tables on disk have these schemas whatever the content: a column that happens to be all null in
one shard has the same type as in the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

import pyarrow as pa

Kind = Literal["multiple_choice", "generative"]
Framing = Literal["selection", "classification", "completion", "short_answer", "free_form", "code"]
AnswerFormat = Literal["option", "label", "number", "expression", "span", "text", "code", "boolean"]
Depth = Literal["fact", "comparison", "multi_step"]
Group = Literal["knowledge", "reasoning"]
Variant = Literal["answer", "reasoning", "context"]
Style = Literal["knowledge", "reasoning"]

Record = dict[str, Any]

_TEXTS = pa.list_(pa.string())

SOURCE = pa.struct(
    [
        ("harness_version", pa.string()),
        ("dataset_path", pa.string()),
        ("dataset_name", pa.string()),
        ("revision", pa.string()),
        ("split", pa.string()),
        ("row", pa.int64()),  # index in the split as it was read
        ("licence", pa.string()),
        ("obligations", _TEXTS),
    ]
)

# What describes a task and its content; a generated question carries its seed's description on.
_DESCRIPTION = [
    ("kind", pa.string()),
    ("output_type", pa.string()),  # lm-eval's: multiple_choice, generate_until, loglikelihood
    ("framing", pa.string()),
    ("depth", pa.string()),
    ("group", pa.string()),
    ("family", pa.string()),
    ("task", pa.string()),
    ("domain", pa.string()),
    ("language", pa.string()),  # BCP 47
]
_CONTENT = [
    ("question", pa.string()),
    ("context", pa.string()),
    ("options", _TEXTS),  # null for generative kinds
    ("answer_format", pa.string()),
    ("tests", _TEXTS),  # code: statements that must run after the answer without raising
    ("identity", pa.string()),  # of question, context and sorted options: curator_sdg.identity.question_identity
]

SEED = pa.schema(
    [
        ("seed_id", pa.string()),
        *_DESCRIPTION,
        *_CONTENT,
        ("answer_index", pa.int32()),  # into options
        ("answer", pa.string()),
        ("references", _TEXTS),  # every accepted answer, the canonical one first
        ("rationale", pa.string()),
        ("prompt", pa.string()),  # as lm-eval renders the row; provenance only
        ("source", SOURCE),
        ("flags", _TEXTS),
    ]
)

# Of all requests that were made about a row in one step; a figure that the endpoint withheld for one reply is null.
TOKENS = pa.struct(
    [("prompt", pa.int64()), ("cached", pa.int64()), ("completion", pa.int64()), ("requests", pa.int64())]
)

TOKEN_COLUMNS: tuple[Literal["generate_tokens", "enrich_tokens"], ...] = ("generate_tokens", "enrich_tokens")

QUESTION = pa.schema(
    [
        ("question_id", pa.string()),
        ("seed_id", pa.string()),
        ("sample", pa.int32()),  # which of the questions that were asked for after this seed
        *_DESCRIPTION,
        *_CONTENT,
        ("proposed_answer", pa.string()),  # the generator's own; a vote decides, not this
        ("teacher", pa.string()),  # model name as asked for
        ("prompt_hash", pa.string()),
        ("generate_tokens", TOKENS),
        ("source", SOURCE),
        ("flags", _TEXTS),
    ]
)

TRACE = pa.struct(
    [
        ("style", pa.string()),
        ("sample", pa.int32()),
        ("knowledge", pa.string()),
        ("reasoning", pa.string()),
        ("distractors", pa.list_(pa.struct([("option", pa.string()), ("why", pa.string())]))),
        ("permutation", pa.list_(pa.int32())),  # shown position -> index in options
    ]
)
VOTES = pa.list_(pa.struct([("answer", pa.string()), ("count", pa.int32())]))

ANSWER = pa.schema(
    [
        *QUESTION,
        ("answer", pa.string()),
        ("votes", VOTES),  # one entry a distinct answer, in the order of its first sample
        ("k", pa.int32()),  # settled samples: the denominator
        ("n_parsed", pa.int32()),
        ("share", pa.float64()),  # winner / k
        ("margin", pa.float64()),  # (winner - runner-up) / k
        ("agrees", pa.bool_()),  # with proposed_answer
        ("verifier", pa.string()),
        ("verdict", pa.string()),
        ("traces", pa.list_(TRACE)),
        ("solver", pa.string()),
        ("enrich_tokens", TOKENS),
    ]
)

CURATED = ANSWER

EXAMPLE = pa.schema(
    [
        ("example_id", pa.string()),
        ("variant", pa.string()),
        ("text", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("answer", pa.string()),
        ("answer_position", pa.int32()),  # of the right option as rendered; null without options
        ("obligations", _TEXTS),
        ("question_id", pa.string()),
        ("seed_id", pa.string()),
        *_DESCRIPTION,
        ("answer_format", pa.string()),
        ("k", pa.int32()),
        ("share", pa.float64()),
        ("margin", pa.float64()),
        ("teacher", pa.string()),
        ("solver", pa.string()),
        ("generate_tokens", TOKENS),  # of the question, which all its variants share
        ("enrich_tokens", TOKENS),
        ("source", SOURCE),
        ("flags", _TEXTS),
    ]
)

REJECT = pa.schema(
    [
        ("record_id", pa.string()),
        ("task", pa.string()),
        ("stage", pa.string()),  # the stage that dropped it
        ("reason", pa.string()),  # a short, fixed word to count by
        ("detail", pa.string()),  # what exactly, for a reader
        ("raw", pa.string()),  # the text it was judged on, whole
        # What was spent on it in each step that asked about it; null where nothing was, or that is not known.
        ("generate_tokens", TOKENS),
        ("enrich_tokens", TOKENS),
    ]
)

KEPT = pa.schema([("question_id", pa.string())])


class Reject(TypedDict):
    """One row that did not make it, with everything needed to see why (schema ``REJECT``)."""

    record_id: str
    task: str
    stage: str
    reason: str
    detail: str
    raw: str
    generate_tokens: NotRequired[Mapping[str, Any] | None]
    enrich_tokens: NotRequired[Mapping[str, Any] | None]


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return ``rows`` as a table of exactly ``schema``; keys outside it are an error, missing ones are null.

    Raises:
        KeyError: If a row has a key that the schema does not know.
    """
    names = frozenset(schema.names)
    for row in rows:
        if not names.issuperset(row):
            raise KeyError(f"columns {sorted(row.keys() - names)} are not in the record's schema")
    return pa.Table.from_pylist(list(rows), schema=schema)


def to_records(table: pa.Table, schema: pa.Schema) -> list[Record]:
    """Return the rows of ``table`` as records with exactly the keys of ``schema``.

    Columns that the table lacks are null, those that the schema lacks are left out.
    """
    present = [name for name in schema.names if name in table.column_names]
    absent = dict.fromkeys(name for name in schema.names if name not in table.column_names)
    return [{**row, **absent} for row in table.select(present).to_pylist()]
