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


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"3 \times 4", r"3 \times 4"),
        (r"\theta_1 and \rho", r"\theta_1 and \rho"),
        (r"\beta, \forall x", r"\beta, \forall x"),
        (r"\alpha \in A", r"\alpha \in A"),
        (r"\(x\) costs 5\%", r"\(x\) costs 5\%"),
        (r"so x \neq 0", r"so x \neq 0"),
        (r"x\neq 0", r"x\neq 0"),
        (r"x \to y", r"x \to y"),
        (r"\text{km}, \nu_{1}, \tau^2", r"\text{km}, \nu_{1}, \tau^2"),
        (r"let $\nu=3$ be", r"let $\nu=3$ be"),
        (r"\frac{1}{2}\to0", r"\frac{1}{2}\to0"),
        (r"\\times and \\frac{1}{2}\nu = 3", "\\times and \\frac{1}{2}\nu = 3"),
        (r"\\text{a}\nnot b", "\\text{a}\nnot b"),
        (r"so\r\nright", "so\nright"),
        (r"caf\u00e9 \ud83d\ude00", "café 😀"),
        (r"it\'s", "it's"),
    ],
)
def test_latex_is_read_as_it_was_meant_whether_or_not_its_backslashes_were_doubled(text, read):
    assert read_object(f'{{"reasoning": "{text}"}}') == {"reasoning": read}


@pytest.mark.parametrize(
    "code",
    [
        "if x:\n    return x\nnot_found = 1",
        "a\nto\nb\ntimes = 3",
        "def f(p):\n\text = p\n\tau = 1\n\top = 2\n\to = 3\n\tan = 4\n\treturn ext",
        "x = 1\neq = 2\ne = 3\nu = 4\ni = 5\nmid = 6\neq(a, b)",
        "x = 1 \neq = 2",
        "price = '$5'\neq = '$6'",
        "re.findall(r'\\d+\\s', s)",
        "print('a\tb\n')\neq = r'\\times'",
        "print('\\')",
    ],
)
def test_code_stays_code(code):
    assert read_object(json.dumps({"answer": code})) == {"answer": code}


@pytest.mark.parametrize(
    ("text", "read"),
    [(r"a \ud83d b", "a � b"), (r"\udc00", "�"), (r"\ud83d\ude00", "😀")],
)
def test_lone_surrogates_are_replaced(text, read):
    assert read_object(f'{{"a": "{text}", "{text}": "b"}}') == {"a": read, read: "b"}


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' + "[" * 3000,
        '{"a":' + "[" * 3000 + "]" * 3000 + "}",
        '{"a":' * 500 + "1" + "}" * 500,
        "{" * 3000 + "}" * 3000,
    ],
    ids=["unclosed", "closed", "objects", "braces"],
)
def test_a_reply_nested_beyond_reason_is_garbage(text):
    assert parse_reply(reply(text), SCHEMA).reason == "garbage"


def test_a_number_of_thousands_of_digits_does_not_stop_the_reading():
    assert parse_reply(reply('{"answer": ' + "1" * 5000 + "}"), SCHEMA).reason in ("garbage", "schema")


DRAFT = {**GOOD, "question": "draft?"}
CODE = 'x = {"a": 1}\nprint({})'


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{CODE}\n```\nThus\n```json\n{json.dumps(GOOD)}\n```",
        f"```json\n{json.dumps(GOOD)}\n```\nchecked with\n```python\n{CODE}\n```",
        f"```json\n{json.dumps(DRAFT)}\n```\nBetter:\n```json\n{json.dumps(GOOD)}\n```",
        f"```json\n{json.dumps(DRAFT)}\n```\nBetter:\n```\n{json.dumps(GOOD)[:-1]},}}\n```",
        f"Draft: {json.dumps(DRAFT)}\nFinal: {json.dumps(GOOD)} Done.",
        f"```json\n{json.dumps(GOOD)}```",
        f"```json\n{json.dumps(GOOD)}",
    ],
    ids=["code first", "code last", "draft", "draft, slip", "draft in prose", "no line break", "unclosed"],
)
def test_of_several_blocks_the_last_that_is_what_was_asked_for_is_read(text):
    assert parse_reply(reply(text), SCHEMA).value == GOOD


def test_a_fence_within_a_text_does_not_end_the_reply():
    value = {**GOOD, "answer": "```python\ndef f():\n    return 1\n```"}
    assert parse_reply(reply(f"```json\n{json.dumps(value)}\n```"), SCHEMA).value == value


def test_distractors_are_asked_for_only_where_there_are_options():
    assert "distractors" in answer_schema("reasoning", distractors=True)["properties"]
    assert "distractors" not in answer_schema("reasoning", distractors=False)["properties"]
    assert "knowledge" not in answer_schema("reasoning", distractors=True)["properties"]
