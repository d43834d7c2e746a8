from collections import Counter

import pytest

from curator_sdg.config import PackageSection
from curator_sdg.packaging.render import RenderExamples
from tests.records import answer, trace


def example(variant="reasoning", record=None, **config):
    return RenderExamples(PackageSection(**config)).example(record or answer(), variant)


def test_an_example_prints_the_options_in_the_order_that_the_kept_vote_saw():
    text = example()["text"]
    assert (
        text.index("A. nitrogen")
        < text.index("B. carbon dioxide")
        < text.index("C. methane")
        < text.index("D. oxygen")
    )
    assert text.endswith("Answer: B. carbon dioxide")
    assert "Why not the others:\n- oxygen: Yeast uses it up." in text


def test_the_answer_is_the_option_text_and_its_position_is_recorded():
    record = example()
    assert (record["answer"], record["answer_position"]) == ("carbon dioxide", 1)


def test_each_variant_has_what_it_is_named_for():
    context, reasoning, plain = (example(variant)["text"] for variant in ("context", "reasoning", "answer"))
    assert "Yeast ferments sugar." in context
    assert "Yeast ferments sugar." not in reasoning
    assert "Yeast breaks sugar down" in reasoning
    assert "Yeast breaks sugar down" not in plain


def test_text_is_prompt_and_reply_and_messages_are_one_each():
    record = example()
    user, assistant = record["messages"]
    assert record["text"] == user["content"] + "\n\n" + assistant["content"]
    assert "Answer:" not in user["content"]


def test_a_variant_without_its_trace_is_no_example():
    assert example("context", answer(traces=[trace("reasoning")])) is None


def test_obligations_are_the_union_of_source_and_teachers():
    stage = RenderExamples(PackageSection(), 0, ("non_commercial", "attribution"))
    assert stage.example(answer(), "answer")["obligations"] == ["attribution", "non_commercial"]


def test_right_answers_of_the_plain_variant_are_spread_over_the_positions():
    positions = Counter(example("answer", answer(question_id=f"q{i}"))["answer_position"] for i in range(800))
    assert all(150 < positions[i] < 250 for i in range(4))


def test_labels_are_not_lettered():
    record = answer(
        answer_format="label", options=["True", "False"], answer="True", question="It rained. True or False?"
    )
    rendered = example("answer", record)
    assert rendered["text"] == "Question: It rained. True or False?\n\nAnswer: True"
    assert rendered["answer_position"] is None


def test_labels_that_the_question_does_not_name_are_printed():
    labels = ["entailment", "neutral", "contradiction"]
    record = answer(answer_format="label", options=labels, answer="neutral", question="The man sleeps.")
    text = example("answer", record)["text"]
    assert text == "Question: The man sleeps.\nChoose from: entailment, neutral, contradiction\n\nAnswer: neutral"


def test_code_is_fenced_and_its_tests_are_shown():
    code = "def f(a):\n    return a"
    record = answer(
        answer_format="code",
        framing="code",
        options=None,
        answer=code,
        question="Write f.",
        tests=["assert f(1) == 1"],
    )
    text = example("answer", record)["text"]
    assert "assert f(1) == 1" in text
    assert text.endswith(f"```python\n{code}\n```")


@pytest.mark.parametrize("variant", ["answer", "reasoning", "context"])
def test_text_with_markup_and_braces_is_printed_as_it_is(variant):
    record = answer(question="Is {{ 1 < 2 }} & <b>true</b>?")
    assert "Is {{ 1 < 2 }} & <b>true</b>?" in example(variant, record)["text"]
