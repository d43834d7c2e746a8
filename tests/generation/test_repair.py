"""Correction turns: which replies get one, what is asked in it, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from nemo_curator.tasks import DocumentBatch

from curator_sdg.config import GenerateSection, TeacherSection
from curator_sdg.generation.questions import GenerateQuestions
from curator_sdg.generation.repair import Asked, Corrections, ask_with_repairs
from curator_sdg.ledger import account_of
from curator_sdg.records import SEED, to_table
from curator_sdg.teacher.base import Completion, Failure, Outcome, Refusal, Request
from tests.endpoint import running_endpoint
from tests.filler import Draw
from tests.maker import project_reply
from tests.records import seed
from tests.teacher.requests import make_requests

GOOD = json.dumps({"question": "Why?", "options": ["a", "b", "c", "d"], "level": "fact", "count": 3})
TOO_FEW = json.dumps({"question": "Why?", "options": ["a", "b"], "level": "fact", "count": 3})


class Script:
    """Gives the replies to each record in turn; a text is a completion."""

    def __init__(self, **replies: list[Any]) -> None:
        self.replies = {name.replace("_", "-"): list(texts) for name, texts in replies.items()}
        self.asked: list[Request] = []

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        self.asked += requests
        return [self.reply(request) for request in requests]

    def reply(self, request: Request) -> Outcome:
        reply = self.replies[request.record_id].pop(0)
        return Completion(request.key, reply, "stop", None, None, 10, 0, 5) if isinstance(reply, str) else reply


def ask(script: Script, attempts: int) -> list[Asked]:
    return ask_with_repairs(script, make_requests(len(script.replies)), attempts, Corrections())


def texts(asked: Asked) -> list[str]:
    return [turn.text for turn in asked.turns]


def test_only_replies_that_do_not_validate_are_asked_again_and_told_why() -> None:
    script = Script(seed_0=[GOOD], seed_1=[TOO_FEW, GOOD], seed_2=["I cannot.", GOOD])
    first, second, third = ask(script, attempts=2)
    assert [(request.record_id, request.repair) for request in script.asked[3:]] == [("seed-1", 1), ("seed-2", 1)]
    assert (texts(first), texts(second), texts(third)) == ([GOOD], [TOO_FEW, GOOD], ["I cannot.", GOOD])
    short, garbage = script.asked[3:]
    assert [message["role"] for message in short.messages] == ["user", "assistant", "user"]
    assert short.messages[1]["content"] == TOO_FEW
    assert "options: ['a', 'b'] is too short" in short.messages[2]["content"]
    assert "no JSON object" in garbage.messages[2]["content"]
    assert len({request.key for request in script.asked}) == 5


def test_it_ends_after_the_attempts_that_are_allowed() -> None:
    script = Script(seed_0=["no"] * 9)
    (asked,) = ask(script, attempts=3)
    assert texts(asked) == ["no"] * 4
    assert [len(request.messages) for request in script.asked] == [1, 3, 5, 7]


def test_without_attempts_nothing_is_asked_again() -> None:
    script = Script(seed_0=["no"])
    (asked,) = ask(script, attempts=0)
    assert (len(script.asked), texts(asked)) == (1, ["no"])


def test_a_cut_reply_is_not_corrected() -> None:
    cut = Completion("k", GOOD[:20], "length")
    script = Script(seed_0=[cut])
    (asked,) = ask(script, attempts=2)
    assert (asked, len(script.asked)) == (Asked(cut, (cut,)), 1)


def test_a_correction_that_fails_in_transport_leaves_the_request_to_be_asked_again() -> None:
    failure = Failure("k", "timeout", "no answer")
    (asked,) = ask(Script(seed_0=["no", failure]), attempts=2)
    assert asked.outcome == failure
    assert texts(asked) == ["no"]


def test_a_correction_that_is_refused_leaves_the_reply_as_it_was() -> None:
    script = Script(seed_0=["no", Refusal("k", 400, "too long")])
    (asked,) = ask(script, attempts=3)
    assert isinstance(asked.outcome, Completion)
    assert (asked.outcome.text, len(script.asked)) == ("no", 2)


def test_a_chat_that_has_become_too_long_is_not_sent() -> None:
    script = Script(seed_0=["no " * 50], seed_1=["no", GOOD])
    requests = make_requests(2)
    long, short = ask_with_repairs(
        script, requests, 1, Corrections(), lambda chat: sum(len(message["content"]) for message in chat) < 250
    )
    assert (texts(long), texts(short)) == (["no " * 50], ["no", GOOD])


def prose_first(body: dict[str, Any], draw: Draw) -> str | None:
    """Reply with prose until asked to put it right."""
    first, told = {**body, "messages": body["messages"][:2]}, len(body["messages"]) > 2
    return project_reply(first, draw) if told else "Here is a question: why?"


@pytest.mark.parametrize("attempts", [0, 1])
def test_a_teacher_that_needs_to_be_told_gives_questions_and_every_turn_is_counted(attempts: int) -> None:
    batch = DocumentBatch(dataset_name="x", data=to_table([seed(seed_id=f"s{n}") for n in range(4)], SEED))
    with running_endpoint(maker="tests.generation.test_repair:prose_first") as endpoint:
        teacher = TeacherSection(model="test-model", base_urls=(endpoint.url,))
        stage = GenerateQuestions(teacher=teacher, config=GenerateSection(repair_attempts=attempts))
        stage.setup()
        try:
            done = stage.process(batch)
        finally:
            stage.teardown()
        sent = sum(endpoint.stats()["asked"].values())
    rows, rejects = done.to_pyarrow().to_pylist(), account_of(done).rejects
    if attempts:
        assert (sent, len(rows), rejects) == (8, 4, [])
        assert {row["generate_tokens"]["requests"] for row in rows} == {2}
    else:
        assert (sent, rows, {reject["reason"] for reject in rejects}) == (4, [], {"garbage"})
        assert all(reject["generate_tokens"]["completion"] == 5 for reject in rejects)
