"""The stages that ask a teacher, against a real endpoint: what is not sent."""

from __future__ import annotations

from typing import Any

import pytest
from nemo_curator.tasks import DocumentBatch

from curator_sdg.config import EnrichSection, GenerateSection, TeacherSection
from curator_sdg.generation.answers import EnrichAnswers
from curator_sdg.generation.questions import GenerateQuestions
from curator_sdg.ledger import Account, account_of
from curator_sdg.records import QUESTION, SEED, to_table
from curator_sdg.teacher.tokens import estimate_tokens
from tests.endpoint import running_endpoint
from tests.records import question, seed

LONG = "The river rises in the hills and falls to the plain. " * 400


def asked(stage: Any, batch: DocumentBatch) -> DocumentBatch:
    stage.setup()
    try:
        done: DocumentBatch = stage.process(batch)
        return done
    finally:
        stage.teardown()


@pytest.mark.parametrize("limit", [5_000, None])
def test_a_seed_too_long_for_the_teachers_context_is_rejected_before_it_is_sent(limit: int | None) -> None:
    seeds = [seed(seed_id="short"), seed(seed_id="long", context=LONG, framing="selection")]
    batch = DocumentBatch(dataset_name="x", data=to_table(seeds, SEED))
    with running_endpoint(maker="tests.maker:project_reply") as endpoint:
        teacher = TeacherSection(model="test-model", base_urls=(endpoint.url,), context_tokens=limit)
        stage = GenerateQuestions(teacher=teacher, config=GenerateSection(questions_per_seed=2))
        done = asked(stage, batch)
        sent = sum(endpoint.stats()["asked"].values())
    too_long = [reject for reject in account_of(done).rejects if reject["reason"] == "too_long"]
    if limit is None:
        assert (sent, too_long) == (4, [])
        return
    assert sent == 2
    assert [reject["record_id"] for reject in too_long] == ["long-0", "long-1"]
    assert "teacher.context_tokens is 5,000" in too_long[0]["detail"]


def test_a_question_too_long_for_its_votes_is_one_reject() -> None:
    questions = [question(question_id="short"), question(question_id="long", context=LONG)]
    batch = DocumentBatch(dataset_name="x", data=to_table(questions, QUESTION))
    with running_endpoint(maker="tests.maker:project_reply") as endpoint:
        teacher = TeacherSection(model="test-model", base_urls=(endpoint.url,), context_tokens=6_000)
        done = asked(EnrichAnswers(teacher=teacher, config=EnrichSection(samples=3)), batch)
        assert sum(endpoint.stats()["asked"].values()) == 3
    assert [r["record_id"] for r in account_of(done).rejects if r["reason"] == "too_long"] == ["long"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("word " * 100, 125), ("다음 중 옳은 것은", 8), ("a" * 7, 2)],
)
def test_tokens_are_estimated_from_characters(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def sampling_of(**sampling: Any) -> list[dict[str, Any]]:
    teacher = TeacherSection(model="m", base_urls=("http://localhost/v1",))
    config = EnrichSection.model_validate({"samples": 3, "sampling": sampling})
    stage = EnrichAnswers(teacher=teacher, config=config)
    return [request.sampling for request in stage.requests(question(), Account("s", planned=1))]


def test_what_is_not_set_is_not_sent() -> None:
    assert sampling_of(max_tokens=9) == [{"temperature": 0.7, "top_p": 0.95, "max_tokens": 9}] * 3
    assert sampling_of(temperature=None, top_p=None) == [{"max_tokens": 2048}] * 3


def test_every_sample_has_a_seed_of_its_own_that_depends_on_the_configured_one() -> None:
    seeds, again, others = ([sampling["seed"] for sampling in sampling_of(seed=n)] for n in (1, 1, 2))
    assert seeds == again
    assert len({*seeds, *others}) == 6


def test_reasoning_and_further_fields_reach_the_body() -> None:
    extra = {"top_k": 20, "chat_template_kwargs": {"enable_thinking": True}, "max_completion_tokens": 50}
    sampling = sampling_of(reasoning_effort="low", reasoning_tokens=300, stop=["\n\n"], extra=extra)[0]
    assert sampling == {
        "temperature": 0.7,
        "top_p": 0.95,
        "stop": ("\n\n",),
        "reasoning_effort": "low",
        "thinking_token_budget": 300,
        **extra,
    }
