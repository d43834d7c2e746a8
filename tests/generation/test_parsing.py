import json

import pytest

from curator_sdg.generation.parsing import parse_reply, read_object
from curator_sdg.generation.replies import answer_schema, question_schema
from curator_sdg.teacher.base import Completion
from tests.records import seed

SCHEMA = question_schema(("question", "options", "answer"), seed(), None)
GOOD = {"skill": "s", "topic": "t", "question": "q?", "options": ["a", "b", "c", "d"], "answer": "b"}


def reply(text: str, finish_reason: str = "stop") -> Completion:
    return Completion("k", text, finish_reason)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD, indent=2)}\n```",
        f"Here it is:\n{json.dumps(GOOD)}\nI hope it helps.",
        f"<think>\nmaybe {{}} or not\n</think>\n{json.dumps(GOOD)}",
        json.dumps(GOOD).replace('"answer"', "'answer'").replace("}", ",}"),
    ],
    ids=["plain", "fenced", "with prose", "after thinking", "single quotes and a trailing comma"],
)
def test_a_reply_is_read_through_what_models_wrap_it_in(text):
    assert parse_reply(reply(text), SCHEMA).value == GOOD


@pytest.mark.parametrize("text", ["", "I cannot help with that.", "[1, 2]", "null", "{}", '"text"', "} {"])
def test_a_reply_without_an_object_is_garbage(text):
    parsed = parse_reply(reply(text), SCHEMA)
    assert (parsed.value, parsed.reason) == (None, "garbage")


@pytest.mark.parametrize(
    "change",
    [{"options": ["a", "b"]}, {"question": ""}, {"answer": 3}, {"extra": 1}],
    ids=["too few options", "empty question", "number for text", "unknown key"],
)
def test_a_reply_of_another_shape_names_what_is_wrong(change):
    parsed = parse_reply(reply(json.dumps({**GOOD, **change})), SCHEMA)
    assert parsed.reason == "schema"
    assert next(iter(change)) in parsed.detail


def test_a_cut_reply_is_cut_even_where_repair_would_make_an_object_of_it():
    parsed = parse_reply(reply(json.dumps(GOOD)[:-20], finish_reason="length"), SCHEMA)
    assert parsed.reason == "cut"


def test_the_drawn_label_must_be_the_answer():
    schema = question_schema(("question", "answer"), seed(framing="classification", options=["yes", "no"]), "no")
    wrong = {"skill": "s", "topic": "t", "question": "q", "answer": "yes"}
    assert parse_reply(reply(json.dumps(wrong)), schema).reason == "schema"
    assert parse_reply(reply(json.dumps({**wrong, "answer": "no"})), schema).value is not None


def test_latex_whose_backslashes_json_ate_is_put_back():
    assert read_object('{"reasoning": "it is \\frac{1}{2} of \\beta"}') == {
        "reasoning": "it is \\frac{1}{2} of \\beta"
    }


def test_distractors_are_asked_for_only_where_there_are_options():
    assert "distractors" in answer_schema("reasoning", distractors=True)["properties"]
    assert "distractors" not in answer_schema("reasoning", distractors=False)["properties"]
    assert "knowledge" not in answer_schema("reasoning", distractors=True)["properties"]
