"""vLLM itself, where there is a GPU: `CURATOR_SDG_VLLM_PYTHON=VLLM_ENV/bin/python pytest tests/gpu`.

It has not run on a GPU yet.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from curator_sdg.config import TeacherSection
from curator_sdg.errors import TeacherError
from curator_sdg.teacher import Completion, acquire, release
from curator_sdg.teacher.servers.launch import prepare
from tests.gpu.model import make_model
from tests.teacher.requests import SCHEMA, make_request

PYTHON = os.environ.get("CURATOR_SDG_VLLM_PYTHON")


def teacher(model: Path, **changes: object) -> TeacherSection:
    vllm = {"python": PYTHON, "gpus": None, "args": ["--load-format", "dummy", "--max-model-len", "2048"]}
    fields = {"engine": "vllm", "model": str(model), "vllm": vllm, **changes}
    return TeacherSection.model_validate(fields)


def why_not() -> str:
    try:
        prepare(teacher(Path("m")))
    except TeacherError as error:
        return str(error)
    return ""


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(why_not()), reason=why_not() or "there is a GPU")]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("structured", ["json_schema", "structured_outputs"])
def test_replies_hold_to_the_schema_though_the_weights_are_made_up(tmp_path: Path, structured: str) -> None:
    model = tmp_path / "model"
    make_model(model, ["Write a question about item number one, two or three."], num_hidden_layers=2)
    dispatcher = acquire(teacher(model, structured=structured))
    try:
        sampling = {"temperature": 1.0, "max_tokens": 1500}
        requests = [make_request(n, model=str(model), structured=structured, sampling=sampling) for n in range(64)]
        outcomes = dispatcher.complete(requests)
    finally:
        release(dispatcher)
    replies = [outcome for outcome in outcomes if isinstance(outcome, Completion)]
    assert len(replies) == len(requests)
    whole = [reply for reply in replies if not reply.cut]
    assert whole
    for reply in whole:
        jsonschema.validate(json.loads(reply.text), SCHEMA)
    assert all(reply.prompt_tokens and reply.completion_tokens for reply in replies)
