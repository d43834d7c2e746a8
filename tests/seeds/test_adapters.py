"""Each task's seed, by hand."""

from pathlib import Path

import pytest

from curator_sdg.records import SEED
from curator_sdg.seeds import collect_task
from curator_sdg.seeds.adapters.mbpp import tidy
from curator_sdg.seeds.harness import harness_version
from tests.seeds.mirror import ROWS, write

EXPECTED = {
    "arc_easy": {
        "question": "Which of these is sweet?",
        "options": ["salt", "sand", "sugar"],
        "answer_index": 2,
        "answer": "sugar",
        "framing": "selection",
        "prompt": "Question:  Which of these is sweet? \nAnswer:",
    },
    "piqa": {
        "question": "Open a jar.",
        "options": ["Twist the lid.", "Twist the glass."],
        "answer_index": 0,
        "answer": "Twist the lid.",
        "depth": "comparison",
    },
    "commonsense_qa": {
        "question": "Where does a cook keep salt?",
        "options": ["garage", "roof", "kitchen", "river", "attic"],
        "answer_index": 2,
        "answer": "kitchen",
    },
    "openbookqa": {"question": "Ice turns into water when", "answer": "salt", "depth": "multi_step"},
    "sciq": {
        "question": "What do bees make?",
        "context": "Bees make honey from nectar.",
        "options": ["milk", "silk", "wax paper", "honey"],
        "answer_index": 3,
        "answer": "honey",
    },
    "winogrande": {
        "question": "The cup did not fit into the box because the _ was too small.",
        "options": ["cup", "box"],
        "answer_index": 1,
        "answer": "box",
        "framing": "completion",
        "prompt": "The cup did not fit into the box because the cup was too small.\n"
        "The cup did not fit into the box because the box was too small.",
    },
    "sglue_rte": {
        "question": "Ana owns the boat. True or False?",
        "context": "Ana sold her boat.",
        "options": ["True", "False"],
        "answer_index": 1,
        "answer": "False",
        "answer_format": "label",
        "framing": "classification",
    },
    "boolq": {
        "question": "is salt soluble?",
        "context": "Salt dissolves in water.",
        "options": ["no", "yes"],
        "answer": "yes",
        "answer_format": "boolean",
        "framing": "classification",
    },
    "gsm8k": {
        "answer": "1200",
        "answer_format": "number",
        "rationale": "One crate holds 24 jars.\n50 crates hold 50*24=1,200 jars.",
        "options": None,
    },
    "drop": {
        "question": "How many goals did the Owls score?",
        "context": "The Owls scored 3 goals, two by Kim and one by Lee.",
        "answer": "3",
        "answer_format": "number",
    },
    "mbpp": {
        "question": "Write a function to double a number.",
        "answer": "def double(x):\n    return 2 * x",
        "tests": ["TWO = 2", "assert double(1) == TWO", "assert double(0) == 0", "assert double(2) == 4"],
        "framing": "code",
        "answer_format": "code",
    },
    "nq_open": {
        "question": "who wrote faust?",
        "answer": "Goethe",
        "references": ["Goethe", "Johann Wolfgang von Goethe"],
        "prompt": "Q: who wrote faust?\nA:",
    },
}


def seed_of(root: Path, task: str, **change) -> dict:
    write(root, task, [{**ROWS[task], **change}])
    found = collect_task(task, data_root=root)
    assert found.account.rejects == []
    [seed] = found.table.to_pylist()
    return seed


def reason_of(root: Path, task: str, **change) -> str:
    write(root, task, [{**ROWS[task], **change}])
    found = collect_task(task, data_root=root)
    assert found.table.num_rows == 0
    [reject] = found.account.rejects
    return reject["reason"]


@pytest.mark.parametrize("task", sorted(ROWS))
def test_the_seed_of_a_row(tmp_path: Path, task: str) -> None:
    seed = seed_of(tmp_path, task)
    assert list(seed) == SEED.names
    assert {key: seed[key] for key in EXPECTED[task]} == EXPECTED[task]
    assert seed["references"][0] == seed["answer"]
    assert seed["source"]["harness_version"] == harness_version()
    assert seed["source"]["row"] == 0


def drop_answer(number: str = "", spans: tuple = (), date: tuple = ("", "", "")) -> dict:
    return {"number": number, "spans": list(spans), "date": dict(zip(("day", "month", "year"), date, strict=True))}


@pytest.mark.parametrize(
    ("answer", "text", "answer_format", "flags"),
    [
        (drop_answer("1,250"), "1250", "number", []),
        (drop_answer("3:15"), "3:15", "text", []),
        (drop_answer(spans=("Kim",)), "Kim", "span", []),
        (drop_answer(spans=("Kim", "Lee")), "Kim and Lee", "text", ["multi_span"]),
        (drop_answer(spans=("Kim", "Lee", "Ann")), "Kim, Lee and Ann", "text", ["multi_span"]),
        (drop_answer(date=("7", "July", "1345")), "7 July 1345", "text", []),
        (drop_answer(date=("", "", "1345")), "1345", "text", []),
    ],
)
def test_drop_formats_by_the_rows_own_answer(
    tmp_path: Path, answer: dict, text: str, answer_format: str, flags: list
) -> None:
    seed = seed_of(tmp_path, "drop", answer=answer)
    assert (seed["answer"], seed["answer_format"], seed["flags"]) == (text, answer_format, flags)


def test_drop_keeps_the_validators_answers_as_references(tmp_path: Path) -> None:
    more = {"number": ["3", "2"], "spans": [[], []], "date": [drop_answer()["date"]] * 2}
    assert seed_of(tmp_path, "drop", validated_answers=more)["references"] == ["3", "2"]


def test_sciq_without_support_has_no_context(tmp_path: Path) -> None:
    assert seed_of(tmp_path, "sciq", support="")["context"] is None


def test_a_question_mark_that_is_there_is_not_doubled(tmp_path: Path) -> None:
    assert seed_of(tmp_path, "nq_open", question="who wrote faust ?")["question"] == "who wrote faust?"


@pytest.mark.parametrize(
    ("task", "change", "reason"),
    [
        ("arc_easy", {"answerKey": ""}, "gold_missing"),
        ("arc_easy", {"answerKey": "E"}, "gold_out_of_range"),
        ("arc_easy", {"question": "  "}, "empty_question"),
        ("arc_easy", {"question": None}, "missing_column"),
        ("arc_easy", {"question": 7}, "malformed"),
        ("arc_easy", {"choices": "salt, sand"}, "missing_column"),
        (
            "arc_easy",
            {"choices": {"text": ["salt", "salt "], "label": ["A", "B"]}, "answerKey": "A"},
            "duplicate_options",
        ),
        ("arc_easy", {"choices": {"text": ["salt", ""], "label": ["A", "B"]}, "answerKey": "A"}, "empty_option"),
        ("arc_easy", {"choices": {"text": ["salt"], "label": ["A"]}, "answerKey": "A"}, "malformed"),
        ("arc_easy", {"choices": {"text": ["salt"], "label": ["A", "B"]}, "answerKey": "B"}, "malformed"),
        ("piqa", {"label": -1}, "gold_out_of_range"),
        ("piqa", {"label": None}, "gold_missing"),
        ("commonsense_qa", {"answerKey": "F"}, "gold_out_of_range"),
        ("winogrande", {"answer": ""}, "gold_missing"),
        ("winogrande", {"answer": "3"}, "gold_out_of_range"),
        ("winogrande", {"sentence": "No blank here."}, "no_blank"),
        ("winogrande", {"sentence": "_ saw _."}, "no_blank"),
        ("sglue_rte", {"premise": " "}, "empty_context"),
        ("gsm8k", {"answer": "It is 4."}, "unparsed_answer"),
        ("gsm8k", {"answer": "Some.\n#### many"}, "unparsed_answer"),
        ("gsm8k", {"answer": 4}, "malformed"),
        ("drop", {"answer": drop_answer()}, "gold_missing"),
        ("drop", {"answer": {"spans": []}}, "malformed"),
        ("mbpp", {"code": "def f(:"}, "unparsed_answer"),
        ("mbpp", {"code": " "}, "gold_missing"),
        ("mbpp", {"test_list": ["", "", ""]}, "gold_missing"),
        ("mbpp", {"test_list": None}, "missing_column"),
        ("nq_open", {"answer": []}, "gold_missing"),
        ("nq_open", {"answer": "Goethe"}, "malformed"),
    ],
)
def test_a_row_that_cannot_be_a_seed_is_rejected_with_its_reason(
    tmp_path: Path, task: str, change: dict, reason: str
) -> None:
    assert reason_of(tmp_path, task, **change) == reason


def test_code_is_tidied_only_where_it_stays_the_same_program() -> None:
    assert tidy("def f(x):  \r\n  return 1 \r\n") == "def f(x):\n  return 1\n"
    assert tidy("def f():\n\tx = 1\n\treturn x") == "def f():\n    x = 1\n    return x"
    mixed = "def f():\n\treturn 1\ndef g():\n  return 2"
    assert tidy(mixed) == mixed.replace("\t", " " * 8)
    kept = 'def f():\n  return """a  \n\tb"""'
    assert tidy(kept) == kept
