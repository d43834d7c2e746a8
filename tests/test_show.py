"""What is printed of a run, on a run directory of a few hand-made shards."""

import io
import json
from collections import Counter

import pytest
import yaml
from rich.console import Console

from curator_sdg.errors import SdgError
from curator_sdg.ledger import Account, Counts, Ledger, StepAccount
from curator_sdg.records import ANSWER, KEPT, QUESTION, to_table
from curator_sdg.report.show import nothing, parsed, pending_reasons, records_text, rejects_text, select
from curator_sdg.report.tables import ledger_table, tasks_table
from curator_sdg.store import publish_shard, shard_name
from tests.records import answer, question
from tests.test_cli import cli

CONFIG = {
    "run": {"dir": "elsewhere"},
    "seeds": {"tasks": ["arc_easy", "gsm8k"]},
    "teacher": {"model": "m", "base_urls": ["http://h/v1"]},
    "versions": {"curator-sdg": "0"},
    "fingerprints": {},
}
REPLIES = [json.dumps({"reasoning": "first line\nsecond line", "answer": "oxygen"}), "no JSON at all"]


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(CONFIG))
    asked = Account("0", planned=4)
    asked.reject(question(question_id="q3"), stage="generate_questions", reason="cut", raw="{half")
    asked.postpone(question(question_id="q4"), stage="generate_questions", reason="timeout", detail="after 600 s")
    rows = [question(question_id="q1", question="Why?"), question(question_id="q2", task="gsm8k")]
    publish_shard(tmp_path / "questions", to_table(rows, QUESTION), asked, "")
    publish_shard(tmp_path / "dedup", to_table([{"question_id": "q1"}], KEPT), Account("0", planned=1), "")
    voted = Account("0", planned=2)
    voted.reject(question(), stage="enrich_answers", reason="no_majority", raw=json.dumps(REPLIES))
    publish_shard(tmp_path / "answers", to_table([answer(share=2 / 3)], ANSWER), voted, "")
    return tmp_path


def printed(renderable, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_word_of_the_ledger_is_cut_short(width):
    reasons = {"seed_copy": 2, "answer_not_in_options": 1, "gold_out_of_range": 1}
    text = printed(ledger_table(Ledger([StepAccount("generate", Counts(9, 5, Counter(reasons)))]), width=width), width)
    assert "…" not in text
    assert all(word in text for word in ("generate", "planned", "rejected", "pending", "surplus"))
    assert len(text.splitlines()) >= 3
    if width >= 80:
        lines = [" ".join(line.replace("│", " ").split()) for line in text.splitlines()]
        assert any(line.endswith("seed_copy 2") for line in lines)
        assert "answer_not_in_options 1" in lines


def test_the_tasks_lose_columns_rather_than_words_where_it_is_narrow():
    row = {"task": "gsm8k", "family": "gsm", "group": "reasoning", "domain": "math", "dataset_path": "openai/gsm8k"}
    row |= {"dataset_name": "main", "split": "train", "licence": "MIT", "status": "usable", "reason": None}
    narrow, wide = (printed(tasks_table([row], width=width), width) for width in (80, 160))
    assert all(word in narrow for word in ("gsm8k", "MIT", "usable"))
    assert not any(word in narrow for word in ("family", "group", "domain", "split"))
    assert all(word in wide for word in ("family", "split", "status", "usable"))


def test_nested_values_are_indented_under_their_bullet():
    lines = [line.strip("│").rstrip()[1:] for line in printed(records_text([answer()]), 60).splitlines()]
    at = lines.index("- style: reasoning")
    assert lines[at + 1 : at + 8] == [
        "  sample: 0",
        "  reasoning: Yeast breaks sugar down, and a gas is left",
        "  over.",
        "  distractors:",
        "    - option: oxygen",
        "      why: Yeast uses it up.",
        "  permutation: 2, 0, 3, 1",
    ]


def test_shares_have_two_decimals_and_ids_are_whole(run_dir):
    [record] = select(run_dir, "rows", "enrich")
    text = printed(records_text([{**record, "question_id": "x" * 60}]), 70)
    assert "share=0.67" in text
    assert "x" * 60 in text


def test_votes_are_printed_reply_by_reply(run_dir):
    text = printed(rejects_text(select(run_dir, "rejects", "enrich")))
    assert "reply 1 of 2" in text
    assert "answer: oxygen" in text
    assert "reply 2 of 2" in text
    assert "no JSON at all" in text
    assert "\\n" not in text


def test_a_raw_text_that_is_no_list_of_replies_is_printed_as_it_is(run_dir):
    assert "{half" in printed(rejects_text(select(run_dir, "rejects", "generate")))


def test_a_record_or_reject_cannot_steer_the_terminal(tmp_path):
    steering = "\x1b[2J\x07 \u202eturned\u2066 half \udc00"
    row = {"task": "t", "stage": "s", "step": "generate", "record_id": "r", "reason": "garbage", "detail": steering}
    shapes = [steering, json.dumps({steering: [steering, {"a": steering}]}), json.dumps([steering, "another"])]
    texts = [printed(rejects_text([{**row, "raw": raw}])) for raw in shapes]
    texts.append(printed(records_text([question(question=steering)])))
    for text in texts:
        assert not set(text) & set("\x1b\x07\u202e\u2066\udc00")
        assert "turned" in text


@pytest.mark.parametrize("text", ["[" * 60 + "]" * 60, '{"a":' * 60 + "1" + "}" * 60, "[" * 5000 + "]" * 5000])
def test_what_is_nested_without_end_is_shown_as_it_came(text):
    assert parsed(text) == text
    reply = {"steps": [{"options": [{"why": "x"}]}]}
    assert parsed(json.dumps(reply)) == reply


def test_a_reason_or_task_that_is_nowhere_gets_those_that_are(run_dir):
    with pytest.raises(SdgError, match="--reason cutt: generate has no such rejects; there are cut 1"):
        select(run_dir, "rejects", "generate", reason="cutt")
    with pytest.raises(SdgError, match="--task arc: generate has no such rows; there are arc_easy 1, gsm8k 1"):
        select(run_dir, "rows", "generate", task="arc")


def test_a_step_without_rows_says_which_steps_have_some(run_dir):
    with pytest.raises(SdgError, match="curate has no rows yet; there are rows of: generate 2, dedup 1, enrich 1"):
        select(run_dir, "rows", "curate")
    with pytest.raises(SdgError, match="package has no rejects; there are rejects of: generate 1, enrich 1"):
        select(run_dir, "rejects", "package", reason="cut")
    assert select(run_dir, "pending rows", "enrich") == []
    assert nothing(run_dir, "pending rows", "enrich").endswith("there are pending rows of: generate 1")


def test_what_dedup_kept_is_shown_with_its_text(run_dir):
    [kept] = select(run_dir, "rows", "dedup")
    assert (kept["question_id"], kept["question"]) == ("q1", "Why?")


def test_pending_rows_are_shown_and_counted_by_reason(run_dir):
    [row] = select(run_dir, "pending rows", None)
    assert (row["step"], row["record_id"], row["reason"], row["detail"]) == (
        "generate",
        "q4",
        "timeout",
        "after 600 s",
    )
    assert "timeout: after 600 s" in printed(rejects_text([row]))
    ledger = Ledger([StepAccount("generate", Counts(7, 2, pending=3))])
    assert pending_reasons(run_dir, ledger) == {"timeout": 1, "not_asked_yet": 2}


def shown(run_dir, *args):
    done = cli("show", run_dir, "--json", *args)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_a_step_that_was_named_is_taken_at_its_word(run_dir):
    assert [row["step"] for row in shown(run_dir, "--reason", "cut")[1]] == ["generate"]
    status, found, message = shown(run_dir, "--step", "package", "--reason", "cut")
    assert (status, found) == (1, [])
    assert "package has no rejects" in message
    assert {row["step"] for row in shown(run_dir, "--rejects")[1]} == {"generate", "enrich"}
    assert [row["reason"] for row in shown(run_dir, "--pending", "--step", "generate")[1]] == ["timeout"]
    assert shown(run_dir, "--pending", "--rejects")[0] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not valid YAML"),
        ("- a", "must be a mapping"),
        (yaml.safe_dump({**CONFIG, "run": None}), "run"),
        (yaml.safe_dump({key: CONFIG[key] for key in ("seeds", "teacher")}), "no run and no fingerprints"),
        (yaml.safe_dump({**CONFIG, "teacher": {}}), "teacher.model: field required"),
    ],
)
def test_a_damaged_or_foreign_run_yaml_is_one_clear_error(run_dir, content, message):
    (run_dir / "run.yaml").write_text(content)
    for command in ("show", "ledger"):
        done = cli(command, run_dir)
        assert done.returncode == 1
        assert f"{run_dir}/run.yaml: is no configuration of a run of this project (" in done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_the_ledger_tells_by_its_status_that_rows_are_pending(tmp_path):
    from curator_sdg.config import load
    from curator_sdg.identity import stable_hash

    path = tmp_path / "run.yaml"
    fingerprints = {"collect": "c", "seeds": "s", "generate": "g"}
    path.write_text(yaml.safe_dump({**CONFIG, "fingerprints": fingerprints}))
    assert load(path).teacher.model == "m", "a run's own file is a configuration"
    collected = publish_shard(tmp_path / "collected", to_table([{"question_id": "a"}], KEPT), Account("t", 1), "c")
    name = shard_name(0, 1)
    account = Account(name, 1, upstream=stable_hash([collected.content]))
    rows = to_table([{"question_id": "a"}], KEPT)
    path.write_text(yaml.safe_dump({**CONFIG, "fingerprints": fingerprints, "until": "package"}))
    assert cli("ledger", tmp_path).returncode == 3, "the seeds are not cut yet"
    (tmp_path / "cut.json").write_text('{"shards": 1}')
    cut = publish_shard(tmp_path / "seeds", rows, account, "s")
    assert cli("ledger", tmp_path).returncode == 3, "nothing is generated yet"
    path.write_text(yaml.safe_dump({**CONFIG, "fingerprints": fingerprints, "until": "seeds"}))
    assert cli("ledger", tmp_path).returncode == 0, "and nothing is to be"
    path.write_text(yaml.safe_dump({**CONFIG, "fingerprints": fingerprints, "until": "generate"}))
    account = Account(name, 1, upstream=stable_hash([cut.content]))
    account.postpone(question(), stage="generate_questions", reason="timeout")
    publish_shard(tmp_path / "questions", to_table([], QUESTION), account, "g")
    assert cli("ledger", tmp_path).returncode == 3
