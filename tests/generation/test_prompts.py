import pytest

from curator_sdg.errors import ConfigError
from curator_sdg.generation.prompts import (
    PROMPTS,
    Prompts,
    enrichment_messages,
    generation_messages,
    prompt_choice,
)
from tests.records import question, seed


def kind_of(framing, answer_format, has_context):
    options = ["yes", "no"] if answer_format in ("option", "label", "boolean") else None
    return {
        "framing": framing,
        "answer_format": answer_format,
        "context": "A passage of the seed." if has_context else None,
        "options": options,
        "tests": ["assert f(1) == 2"] if answer_format == "code" else None,
    }


@pytest.mark.parametrize(("framing", "answer_format", "has_context"), PROMPTS)
def test_every_kind_in_the_table_renders_for_both_steps(framing, answer_format, has_context):
    fields = kind_of(framing, answer_format, has_context)
    record = seed(**fields, answer="yes")
    choice = prompt_choice(record)
    assert choice is not None
    system, user = generation_messages(
        Prompts("generate"), choice, record, "no" if framing == "classification" else None
    )
    assert record["question"] in user["content"]
    assert record["question"] not in system["content"], "what all items share must come first, for prefix caches"
    for key in choice.fields:
        assert f'"{key}"' in system["content"]
    assert ("A passage of the seed." in user["content"]) == has_context
    for style in ("knowledge", "reasoning"):
        messages = enrichment_messages(Prompts("enrich"), choice, question(**fields), style, record["options"])
        text = messages[0]["content"] + messages[1]["content"]
        assert ('"knowledge"' in text) == (style == "knowledge")
        assert ("A passage of the seed." in text) == has_context
        assert "\n\n\n" not in text


def test_the_solver_is_not_told_the_proposed_answer():
    record = question(proposed_answer="carbon dioxide", options=["oxygen", "carbon dioxide"])
    choice = prompt_choice(record)
    prompts = Prompts("enrich")
    shown = enrichment_messages(prompts, choice, record, "reasoning", ["oxygen", "carbon dioxide"])
    other = enrichment_messages(
        prompts, choice, {**record, "proposed_answer": "oxygen"}, "reasoning", ["oxygen", "carbon dioxide"]
    )
    assert shown == other


def test_the_benchmark_is_not_named_to_the_teacher():
    record = seed(task="arc_easy", family="arc")
    messages = generation_messages(Prompts("generate"), prompt_choice(record), record, None)
    assert "arc" not in (messages[0]["content"] + messages[1]["content"]).lower().split()


def test_a_template_of_the_users_replaces_ours_and_changes_the_hash(tmp_path):
    shipped = Prompts("generate")
    (tmp_path / "selection.j2").write_text(
        "{% block system %}S{% endblock %}{% block user %}{{ seed.question }}{% endblock %}"
    )
    own = Prompts("generate", tmp_path)
    record = seed()
    messages = generation_messages(own, prompt_choice(record), record, None)
    assert [m["content"] for m in messages] == ["S", record["question"]]
    assert own.hash != shipped.hash == Prompts("generate").hash


def test_a_wrong_template_names_file_and_mistake(tmp_path):
    (tmp_path / "selection.j2").write_text(
        "{% block system %}{{ nothing }}{% endblock %}{% block user %}{% endblock %}"
    )
    with pytest.raises(ConfigError, match=r"generate\.prompts: selection\.j2.*nothing"):
        generation_messages(Prompts("generate", tmp_path), prompt_choice(seed()), seed(), None)


def test_a_template_that_replaces_nothing_is_an_error(tmp_path):
    (tmp_path / "selectoin.j2").write_text("")
    with pytest.raises(ConfigError, match=r"replaces no template; known: .*selection\.j2"):
        Prompts("generate", tmp_path)
