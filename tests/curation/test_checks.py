import pytest

from curator_sdg.curation.checks import findings
from tests.records import question


def first(**fields):
    return next(findings(question(**fields)), None)


def test_a_sound_question_passes():
    assert first() is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"options": ["carbon dioxide", "oxygen", " Oxygen", "oxygen.", "methane"]}, "duplicate_options"),
        ({"options": ["AA", "Aa", "aa", "bb"], "proposed_answer": "aA"}, "answer_not_in_options"),
        ({"options": ["carbon dioxide", "All of the above are correct", "neon"]}, "catch_all_option"),
        ({"options": ["carbon dioxide", "none of the above options", "neon"]}, "catch_all_option"),
        ({"options": ["carbon dioxide", "oxygen", "both A and B"]}, "catch_all_option"),
        ({"options": ["carbon dioxide", "oxygen", "both carbon dioxide and oxygen"]}, "catch_all_option"),
        ({"options": ["carbon dioxide", "oxygen", "oxygen or carbon dioxide"]}, "catch_all_option"),
        (
            {"options": ["A. oxygen", "carbon dioxide", "C. methane", "neon"]},
            "lettered_options",
        ),
        ({"options": ["carbon dioxide"]}, "too_few_options"),
        ({"proposed_answer": "helium"}, "answer_not_in_options"),
        ({"options": ["carbon dioxide", "oxygen", "All of the above", "methane"]}, "catch_all_option"),
        ({"options": ["carbon dioxide", "oxygen", "none of these", "methane"]}, "catch_all_option"),
        (
            {
                "options": ["A. oxygen", "B. carbon dioxide", "C. methane", "D. neon"],
                "proposed_answer": "B. carbon dioxide",
            },
            "lettered_options",
        ),
        ({"question": "As in the seed question, which gas is it?"}, "mentions_seed"),
        ({"framing": "completion", "question": "The baker let the dough rise."}, "no_single_blank"),
        ({"framing": "completion", "question": "The _ let the _ rise."}, "no_single_blank"),
        ({"answer_format": "number", "options": None, "proposed_answer": "about ten"}, "not_a_number"),
        (
            {"answer_format": "span", "options": None, "context": "Rome fell.", "proposed_answer": "Athens"},
            "span_not_in_context",
        ),
        (
            {"answer_format": "span", "options": None, "context": "Jerome fell.", "proposed_answer": "Rome"},
            "span_not_in_context",
        ),
        (
            {"answer_format": "span", "options": None, "context": "Rome fell.", "proposed_answer": " "},
            "span_not_in_context",
        ),
        ({"answer_format": "code", "options": None, "proposed_answer": "def f(:", "tests": []}, "code_syntax"),
        ({"answer_format": "code", "options": None, "proposed_answer": "-" * 100_000 + "1"}, "code_syntax"),
        (
            {
                "answer_format": "code",
                "options": None,
                "proposed_answer": "def f(a): return a",
                "tests": ["assert f(" + "-" * 100_000 + "1)"],
            },
            "code_syntax",
        ),
        (
            {
                "answer_format": "code",
                "options": None,
                "proposed_answer": "def f(a): return a",
                "tests": ["print(f(1))"],
            },
            "test_format",
        ),
        (
            {
                "answer_format": "code",
                "options": None,
                "proposed_answer": "def f(a): return a",
                "tests": ["assert g(1) == 1"],
            },
            "test_format",
        ),
    ],
)
def test_each_rule_catches_what_it_is_for(fields, reason):
    finding = first(**fields)
    assert finding is not None
    assert finding[0] == reason


@pytest.mark.parametrize(
    "fields",
    [
        {"proposed_answer": "Carbon Dioxide."},
        {"options": ["A. carbon dioxide", "oxygen"], "proposed_answer": "A. carbon dioxide"},
        {"question": "When does the seed of a pea germinate?"},
        {"framing": "completion", "question": "The dough rose because of the ___."},
        {"answer_format": "number", "options": None, "proposed_answer": "1,200"},
        {"answer_format": "span", "options": None, "context": "Rome fell in 476.", "proposed_answer": "rome"},
        {
            "answer_format": "code",
            "options": None,
            "proposed_answer": "def f(a): return a",
            "tests": ["assert f(1) == 1", "assert f([]) == []"],
        },
        {"options": ["carbon dioxide", "nonesuch", "oxygen", "both lungs"]},
        {"options": ["AA", "Aa", "aa", "5 mW", "5 MW", "10²", "102"], "proposed_answer": "Aa"},
        {"options": ["2", "3", "2/3", "3/2"], "proposed_answer": "2/3"},
        {"options": ["dioxide", "carbon dioxide", "carbon dioxide and neon"]},
        {"options": ["E. coli", "B. subtilis", "S. aureus", "P. putida"], "proposed_answer": "E. coli"},
        {"answer_format": "span", "options": None, "context": "太郎は東京に住む。", "proposed_answer": "東京"},
        {
            "answer_format": "code",
            "options": None,
            "proposed_answer": "```python\ndef f(a):\n    return a\n```",
            "tests": ["assert f(1) == 1"],
        },
    ],
)
def test_rules_do_not_catch_what_is_sound(fields):
    assert first(**fields) is None
