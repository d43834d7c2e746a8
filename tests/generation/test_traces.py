from collections import Counter

import pytest

from curator_sdg.generation.traces import best_traces, cites_labels, shown_order
from tests.records import question


@pytest.mark.parametrize(
    "text",
    [
        "So option B is right.",
        "The answer (C) follows.",
        "Options A and B fail.",
        "The first option is too hot.",
        "It holds. (B) is wrong",
        "option 2 fails",
        "Answer: D",
        "The answer is B.",
        "The answer is (B), because yeast makes it.",
        "B is correct",
        "It is so; therefore C must be wrong.",
        "A and B are ruled out.",
        'Option "B" fails',
        "**B** fits",
        "First option is wrong.",
    ],
)
def test_a_text_that_cites_an_option_by_letter_or_place_is_found(text):
    assert cites_labels(text)


@pytest.mark.parametrize(
    "text",
    [
        "Carbon (C) has six protons.",
        "Vitamin C is an option here.",
        "The answer is a gas.",
        "An option a baker has is yeast.",
        "The first reason is heat.",
        "Hepatitis B and answer Boolean questions.",
        "Her first choice was law school.",
        "The last option for treatment is surgery.",
        "Blood type answers A and B antigens",
        "Vitamins: A) retinol",
        "The answer is E. coli.",
        "The answer is B vitamins.",
        "Vitamin C is correct there.",
    ],
)
def test_plain_prose_does_not_cite_options(text):
    assert not cites_labels(text)


def test_each_sample_sees_the_options_in_an_order_of_its_own_and_always_the_same():
    record = question()
    orders = [shown_order(record, 0, sample) for sample in range(40)]
    assert orders == [shown_order(record, 0, sample) for sample in range(40)]
    assert len({tuple(order) for order in orders}) > 10
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)


def test_the_right_option_is_shown_at_every_place_equally_often():
    places = Counter(
        shown_order(question(question_id=f"q{i}"), 0, sample).index(0) for i in range(400) for sample in range(5)
    )
    assert all(400 < places[place] < 600 for place in range(4))


def test_fixed_labels_keep_their_order():
    assert shown_order(question(answer_format="label", options=["True", "False"]), 0, 3) == [0, 1]


def content(reasoning="Because of the sugar.", why=("a", "b", "c"), knowledge=None):
    wrong = ["oxygen", "nitrogen", "methane"]
    return {
        "knowledge": knowledge,
        "reasoning": reasoning,
        "distractors": [{"option": o.upper(), "why": w} for o, w in zip(wrong, why, strict=False)],
    }


def test_the_trace_that_explains_most_distractors_is_kept_for_each_style():
    agreeing = [
        (0, "knowledge", content(knowledge="k", why=("a",))),
        (1, "reasoning", content()),
        (2, "knowledge", content(knowledge="k2")),
        (3, "reasoning", content(reasoning="later")),
    ]
    traces = best_traces(question(), "carbon dioxide", agreeing, 0)
    assert [(t["style"], t["sample"], len(t["distractors"])) for t in traces] == [
        ("knowledge", 2, 3),
        ("reasoning", 1, 3),
    ]
    assert traces[0]["distractors"][0] == {"option": "oxygen", "why": "a"}
    assert traces[0]["permutation"] == shown_order(question(), 0, 2)


def test_a_trace_that_cites_labels_is_left_out():
    agreeing = [(1, "reasoning", content(reasoning="Option B is wrong.")), (3, "reasoning", content())]
    assert [t["sample"] for t in best_traces(question(), "carbon dioxide", agreeing, 0)] == [3]


def test_an_explanation_of_the_right_option_is_no_distractor():
    given = {"reasoning": "r", "distractors": [{"option": "carbon dioxide", "why": "it is right"}]}
    assert best_traces(question(), "carbon dioxide", [(1, "reasoning", given)], 0)[0]["distractors"] == []


def test_distractors_that_differ_by_case_alone_keep_their_own_explanations():
    record = question(options=["AA", "Aa", "aa"])
    given = {"reasoning": "r", "distractors": [{"option": "aa", "why": "small"}, {"option": "AA", "why": "large"}]}
    assert best_traces(record, "Aa", [(1, "reasoning", given)], 0)[0]["distractors"] == [
        {"option": "AA", "why": "large"},
        {"option": "aa", "why": "small"},
    ]
