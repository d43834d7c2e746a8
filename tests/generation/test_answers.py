import json

import pytest

from curator_sdg.config import EnrichSection, TeacherSection
from curator_sdg.generation.answers import EnrichAnswers
from curator_sdg.generation.repair import Asked
from curator_sdg.ledger import Account
from curator_sdg.teacher.base import Completion
from tests.records import question

PROGRAM = "def f(a):\n    return a"


def settle(record, answers, **config):
    """Let samples answer a question; return the answered question, or the reject."""
    teacher = TeacherSection(model="t", base_urls=["http://localhost"])
    stage = EnrichAnswers(teacher=teacher, config=EnrichSection(styles=("reasoning",), **config))
    distractors = {"distractors": []} if record["answer_format"] == "option" else {}
    replies = [{"reasoning": "Because.", **distractors, "status": "answered", "answer": a} for a in answers]
    outcomes = [Completion(str(i), json.dumps(reply), "stop") for i, reply in enumerate(replies)]
    account = Account(shard="s", planned=1)
    accepted = list(stage.settle(record, [Asked(outcome, (outcome,)) for outcome in outcomes], account))
    return accepted[0] if accepted else account.rejects[0]


def free(answer_format, proposed, **fields):
    return question(answer_format=answer_format, options=None, proposed_answer=proposed, **fields)


@pytest.mark.parametrize(
    ("record", "answers", "answer", "share"),
    [
        (question(), ["Carbon dioxide.", "carbon dioxide", "neon"], "carbon dioxide", 2 / 3),
        (question(options=["AA", "Aa", "aa"], proposed_answer="aa"), ["aa", "aa", "Aa"], "aa", 2 / 3),
        (question(options=["102", "10²"], proposed_answer="10²"), ["10²", "10^2", "102"], "10²", 2 / 3),
        (free("number", "12"), ["12", "12.0", "twelve"], "12", 2 / 3),
        (free("span", "Rome", context="Jerome left Rome."), ["Rome", "rome", "Athens"], "Rome", 2 / 3),
        (
            free("code", PROGRAM, tests=["assert f(1)"]),
            [f"```python\n{PROGRAM}\n```", PROGRAM, "def f("],
            PROGRAM,
            2 / 3,
        ),
    ],
    ids=["option", "case", "power", "number", "span", "code"],
)
def test_votes_count_for_what_they_mean(record, answers, answer, share):
    settled = settle(record, answers)
    assert (settled["answer"], settled["share"], settled["agrees"]) == (answer, share, True)


@pytest.mark.parametrize(
    ("record", "answer", "reason"),
    [
        (question(), "helium", "off_list"),
        (question(options=["AA", "Aa"], proposed_answer="AA"), "aA", "off_list"),
        (free("number", "12"), "2x", "schema"),
        (free("span", "Rome", context="Jerome left."), "Rome", "schema"),
        (free("span", "Rome", context="Jerome left."), "", "schema"),
        (free("code", PROGRAM, tests=["assert f(1)"]), "I would sort the list.", "schema"),
        (free("code", PROGRAM, tests=["assert f(1)"]), "-" * 100_000 + "1", "schema"),
        (free("text", "Nile"), " ", "schema"),
    ],
)
def test_votes_that_cannot_be_the_answer_win_nothing(record, answer, reason):
    assert settle(record, [answer] * 3)["reason"] == reason


def test_the_generators_answer_agrees_through_the_option_that_it_means():
    record = question(proposed_answer="CARBON DIOXIDE.")
    assert settle(record, ["carbon dioxide"] * 3, require_agreement=True)["agrees"]
    record = question(options=["AA", "Aa"], proposed_answer="AA")
    assert settle(record, ["Aa"] * 3, require_agreement=True)["reason"] == "disagrees"
