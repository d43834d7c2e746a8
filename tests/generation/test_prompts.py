import pickle
from collections import defaultdict
from itertools import takewhile

import pytest
import yaml

from curator_sdg.config import GenerateSection, TeacherSection
from curator_sdg.errors import ConfigError
from curator_sdg.generation import angles
from curator_sdg.generation.prompts import (
    PROMPTS,
    Prompts,
    enrichment_messages,
    generation_messages,
    prompt_choice,
)
from curator_sdg.generation.questions import GenerateQuestions
from curator_sdg.ledger import Account
from tests.records import question, seed
from tests.seeds.test_rows import CASES, CATALOG, seed_of


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


@pytest.fixture(scope="module")
def seeds():
    """One seed of every catalogued task, made from a row in its hub's columns."""
    cases = {case.values[0].task: case.values[0] for case in CASES if case.values[0].seed is not None}
    return [seed_of(case) for case in cases.values()]


def shared(one, other):
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def kind(record):
    return record["framing"], record["answer_format"], bool(record["context"])


def test_what_items_of_a_kind_share_comes_first_to_the_byte(seeds):
    prompts, systems, kinds = {step: Prompts(step) for step in ("generate", "enrich")}, defaultdict(set), set()
    for record in seeds:
        kinds.add(kind(record))
        choice = prompt_choice(record)
        target = record["options"][0] if record["framing"] == "classification" else None
        angle = prompts["generate"].angle(record, 0, 0)
        system, _ = generation_messages(prompts["generate"], choice, record, target, angle)
        systems["generate", *kind(record)].add(system["content"])
        item = {**record, "proposed_answer": record["answer"]}
        for style in ("knowledge", "reasoning"):
            system, _ = enrichment_messages(prompts["enrich"], choice, item, style, record["options"])
            systems["enrich", *kind(record), style, record["language"]].add(system["content"])
    assert {key: len(texts) for key, texts in systems.items() if len(texts) > 1} == {}
    assert len(kinds) > 12, "the rows cover most of the table"


def test_siblings_share_all_but_their_angle(seeds):
    prompts = Prompts("generate")
    for record in seeds:
        target = record["options"][0] if record["framing"] == "classification" else None
        users = []
        for sample in range(2):
            angle = prompts.angle(record, 0, sample)
            _, user = generation_messages(prompts, prompt_choice(record), record, target, angle)
            assert user["content"].endswith(f"\nAngle: {angle}")
            users.append(user["content"])
        assert users[0] != users[1]
        assert record["question"].strip() in shared(*users)
        assert "\nAngle: " in shared(*users)


def test_votes_of_a_style_share_the_question_before_its_options():
    record = question()
    users = [
        enrichment_messages(Prompts("enrich"), prompt_choice(record), record, "reasoning", options)[1]["content"]
        for options in (record["options"], record["options"][::-1])
    ]
    assert record["question"] in shared(*users)


def test_every_item_after_a_seed_takes_another_angle():
    stage = GenerateQuestions(
        teacher=TeacherSection(model="m", base_urls=["http://localhost:1/v1"]),
        config=GenerateSection(questions_per_seed=8),
    )
    requests = [list(stage.requests(seed(), Account("shard", 8))) for _ in range(2)]
    first, again = ([asked.messages[1]["content"].rsplit("Angle: ", 1)[1] for asked in some] for some in requests)
    assert first == again
    parts = [angle.split("; ") for angle in first]
    assert {len(part) for part in parts} == {2}
    for column in zip(*parts, strict=True):
        assert len(set(column)) == 8
    others = [stage.prompts.angle(seed(seed_id=f"s{i}"), 0, 0) for i in range(40)]
    assert len(set(others)) > 30, "seeds do not all begin with the same angle"
    assert stage.prompts.angle(seed(), 1, 0) != first[0], "another run draws others"


def test_angles_begin_again_when_a_list_is_used_up(tmp_path):
    (tmp_path / "angles.yaml").write_text("[{for: {}, draw: [[a, b, c]]}]")
    prompts = Prompts("generate", tmp_path)
    drawn = [prompts.angle(seed(), 0, sample) for sample in range(6)]
    assert sorted(drawn[:3]) == ["a", "b", "c"]
    assert drawn[3:] == drawn[:3]


def test_the_first_entry_that_fits_a_seed_counts(tmp_path):
    entries = [
        {"for": {"domain": ["math", "logic"], "depth": "multi_step"}, "draw": [["numbers"]]},
        {"for": {"domain": "math"}, "draw": [["figures"], ["in space"]]},
    ]
    (tmp_path / "angles.yaml").write_text(yaml.safe_dump(entries))
    prompts = Prompts("generate", tmp_path)
    drawn = [prompts.angle(seed(domain=domain, depth="fact"), 0, 0) for domain in ("math", "logic")]
    assert drawn == ["figures; in space", ""]
    assert prompts.angle(seed(domain="logic", depth="multi_step"), 0, 0) == "numbers"


def test_without_angles_a_prompt_does_not_speak_of_one(tmp_path):
    (tmp_path / "angles.yaml").write_text("[]")
    prompts = Prompts("generate", tmp_path)
    assert prompts.angle(seed(), 0, 0) == ""
    assert "Angle:" not in generation_messages(prompts, prompt_choice(seed()), seed(), None)[1]["content"]


def test_angles_of_the_users_change_the_hash_and_travel_to_workers(tmp_path):
    (tmp_path / "angles.yaml").write_text("[{for: {}, draw: [[the moon]]}]")
    own = Prompts("generate", tmp_path)
    assert own.hash != Prompts("generate").hash
    there = pickle.loads(pickle.dumps(own))
    assert (there.hash, there.angle(seed(), 0, 0)) == (own.hash, "the moon")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{for: {}, draw: []}", "the whole"),
        ("[{for: {}, draw: [the moon]}]", r"0\.draw\.0"),
        ("[{for: {}, drew: [[the moon]]}]", r"0\.draw"),
        ("[{for: {topic: moons}, draw: []}]", r"0\.for.*topic"),
        ("[", "expected"),
    ],
)
def test_a_wrong_file_of_angles_names_file_and_mistake(tmp_path, text, wrong):
    (tmp_path / "angles.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"(?s)generate\.prompts: .*angles\.yaml.*{wrong}"):
        Prompts("generate", tmp_path).angle(seed(), 0, 0)


def test_our_angles_name_domains_that_the_catalogue_knows():
    known = {entry.domain for entry in CATALOG.entries.values()}
    text = (angles.Path(angles.__file__).parent / "prompts" / "generate" / angles.NAME).read_text()
    for entry in yaml.safe_load(text):
        domains = entry["for"].get("domain", [])
        assert known.issuperset([domains] if isinstance(domains, str) else domains)
        for phrases in entry["draw"]:
            assert len(set(phrases)) == len(phrases)
