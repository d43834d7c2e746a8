"""A preview, against a real server: what is shown, what is asked, what is kept, and from where the seeds are."""

import io
import json
import re
import tempfile
import threading
from collections import Counter

import pytest
from rich.console import Console

from curator_sdg.config import load
from curator_sdg.errors import ConfigError, SourceError
from curator_sdg.records import SEED, to_records
from curator_sdg.report.preview import SystemPrompts, pick_seeds, seed_text, summarise, try_out
from curator_sdg.store import list_shards, read_rows
from tests.endpoint import running_endpoint
from tests.records import seed
from tests.runs import QUICKSTART, run, write_config

MAKER = "tests.maker:project_reply"
URL = "http://127.0.0.1:9/v1"  # where nobody is asked


@pytest.fixture(scope="module")
def endpoint():
    with running_endpoint(maker=MAKER, reasoning=True) as endpoint:
        yield endpoint


def tried(folder, url, n=1, task="openbookqa", **sections):
    """Return a preview's trials and configuration."""
    config = load(write_config(folder, url, **sections))
    return try_out(config, pick_seeds(config, n, task).seeds, folder / "journal"), config


def printed(trials, width, terminal=True):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    systems = SystemPrompts()
    for number, trial in enumerate(trials, start=1):
        console.print(seed_text(trial, f"seed {number}", systems, width if terminal else 0))
    return console.file.getvalue()


# ---- what is shown -----------------------------------------------------------------------------------------------


def test_a_preview_shows_every_prompt_reply_and_verdict_and_pays_once(tmp_path, endpoint):
    config = write_config(tmp_path, endpoint.url, teacher={"price": {"prompt": 1, "completion": 4}})
    first = run("preview", config, "-n", 2, "--task", "openbookqa")
    assert first.returncode == 0, first.stderr
    heads = [line.split(" ─")[0] for line in first.stdout.splitlines() if "─" in line]
    assert heads.count("system prompt generate/selection.j2") == 1
    assert heads.count("system prompt enrich/selection.j2") == 1
    assert heads.count("system prompt enrich/selection.j2 (2)") == 1  # the other style
    for head in ("seed", "question: prompt", "question: reply", "packaged: answer", "packaged: context"):
        assert heads.count(head) == 2
    for vote, style in enumerate(("knowledge", "reasoning", "knowledge", "reasoning", "knowledge"), start=1):
        assert heads.count(f"vote {vote} of 5 ({style}): prompt") == 2
        assert heads.count(f"vote {vote} of 5 ({style}): reply") == 2
    assert first.stdout.count("→ tally: accepted: of 5 votes") == 2
    assert first.stdout.count("→ filters: accepted") == 2
    assert "finish_reason stop" in first.stdout
    assert "thinking" in first.stdout
    assert "2 seeds: 2 new questions, 2 answered and kept, 6 examples" in first.stdout
    assert re.search(
        r"asked now: 12 replies, [\d,]+ prompt \([\d,]+ cached\) and [\d,]+ completion tokens,\s+cost 0.0",
        first.stdout,
    )
    assert not (tmp_path / "run").exists()
    asked = endpoint.stats()["asked"]
    again = run("preview", config, "-n", 2, "--task", "openbookqa")
    assert endpoint.stats()["asked"] == asked
    assert "asked now: 0 replies; known from an earlier preview: 12 replies" in again.stdout


def test_json_has_everything(tmp_path, endpoint):
    done = run("preview", write_config(tmp_path, endpoint.url), "-n", 2, "--task", "gsm8k", "--json")
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    assert [trial["seed"]["task"] for trial in trials] == ["gsm8k"] * 2
    assert "2 seeds" in done.stderr
    for trial in trials:
        [question] = trial["questions"]
        [turn] = question["turns"]
        assert [message["role"] for message in turn["messages"]] == ["system", "user"]
        assert trial["seed"]["question"] in turn["messages"][1]["content"]
        assert question["question"]["question"] == json.loads(turn["reply"])["question"]
        assert (turn["template"], turn["finish_reason"], turn["known"]) == ("generate/short_answer.j2", "stop", False)
        assert turn["reasoning"]
        assert turn["completion_tokens"] == len(turn["reply"].split())
        votes = question["votes"]
        assert [vote["sample"] for vote in votes] == [0, 1, 2, 3, 4]
        counted = Counter(vote["answer"] for vote in votes if vote["outcome"] == "answered")
        assert max(counted.values()) == max(vote["count"] for vote in question["answer"]["votes"])
        assert [example["variant"] for example in question["examples"]] == ["answer", "reasoning", "context"]
        assert all(question["answer"]["answer"] in example["text"] for example in question["examples"])


@pytest.mark.parametrize("width", [80, 120, 200])
def test_blocks_stand_beside_each_other_where_there_is_room(tmp_path, endpoint, width):
    trials, _ = tried(tmp_path, endpoint.url)
    lines = printed(trials, width).splitlines()
    assert max(map(len, lines)) <= width
    [head] = [line for line in lines if "question: prompt" in line]
    assert ("question: reply" in head) == (width >= 120)
    assert ("verdict" in head) == (width >= 200)
    assert any("╭" in line for line in lines) == (width >= 120)
    packaged = [line for line in lines if "packaged:" in line]
    assert len(packaged) == {80: 3, 120: 2, 200: 1}[width]


def test_of_later_votes_only_what_differs_is_printed(tmp_path, endpoint):
    trials, _ = tried(tmp_path, endpoint.url)
    [question] = trials[0].questions
    text = " ".join(printed(trials, 80).split())
    assert text.count(question.question["question"]) == 1 + 1 + 3  # the reply, the prompt of vote 1, three variants
    assert text.count("lines as for vote 1]") >= 4
    assert "lines as in enrich/selection.j2]" in text


def test_a_reply_cannot_steer_the_terminal(tmp_path):
    with running_endpoint(maker="tests.teacher.echo:escapes") as endpoint:
        trials, _ = tried(tmp_path, endpoint.url)
    assert trials[0].questions[0].turns[0].reply == "\x1b[2Jno JSON\x07 \u202e"
    text = printed(trials, 80)
    assert "\x1b[2J" not in text
    assert not set(text) & set("\x07\u202e")
    assert "[2Jno JSON" in text


# ---- what becomes of rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"), [("garbage", "garbage: "), ("cut", "cut: "), ("refused", "refused: HTTP 400")]
)
def test_a_question_that_cannot_be_used_says_why(tmp_path, fault, words):
    with running_endpoint(maker=MAKER, **{fault: 1.0}) as endpoint:
        trials, config = tried(tmp_path, endpoint.url, 2)
    for trial in trials:
        [question] = trial.questions
        assert question.verdicts["generate"].reason == fault
        assert not question.votes
        assert question.turns[0].fault.startswith(words.partition(":")[0])
    assert summarise(trials, config.prices).lost == {"generate": {fault: 2}}
    assert f"→ question: rejected (generate_questions): {words}" in printed(trials, 200, terminal=False)


@pytest.mark.parametrize("repairs", [0, 1])
def test_votes_that_do_not_agree_are_told_one_by_one(tmp_path, repairs):
    with running_endpoint(maker=MAKER, garbage=0.5, cut=0.1, refused=0.1) as endpoint:
        trials, config = tried(tmp_path, endpoint.url, 20, None, enrich={"repair_attempts": repairs})
    questions = [question for trial in trials for question in trial.questions if question.votes]
    votes = [vote for question in questions for vote in question.votes]
    assert {"answered", "garbage", "cut", "refused"} <= {vote.outcome for vote in votes}
    mended = [vote for vote in votes if len(vote.turns) > 1 and vote.outcome == "answered"]
    assert bool(mended) == (repairs > 0)
    rejected = [question for question in questions if question.verdicts["enrich"].state == "rejected"]
    assert rejected
    for question in rejected:
        counted = Counter(vote.outcome for vote in question.votes if vote.answer is None)
        counted |= Counter(repr(vote.answer) for vote in question.votes if vote.answer is not None)
        told = question.verdicts["enrich"].detail.partition(" samples: ")[2]
        assert sorted(told.split(", ")) == sorted(f"{count}x {outcome}" for outcome, count in counted.items())
    lost = summarise(trials, config.prices).lost
    assert sum(lost["enrich"].values()) == len(rejected)


def test_correction_turns_are_shown(tmp_path):
    with running_endpoint(maker=MAKER, garbage=0.5) as endpoint:
        trials, _ = tried(tmp_path, endpoint.url, 4, None, generate={"repair_attempts": 2})
    mended = [
        question
        for trial in trials
        for question in trial.questions
        if len(question.turns) > 1 and question.verdicts["generate"].state == "accepted"
    ]
    assert mended
    assert mended[0].turns[0].fault.startswith("garbage")
    assert mended[0].turns[-1].fault is None
    assert "question: correction 1" in printed(trials, 80)


def test_repeated_questions_and_filters_are_told(tmp_path):
    strict = [{"filter": "nemo_curator.stages.text.filters.heuristic:WordCountFilter", "args": {"min_words": 5000}}]
    with running_endpoint(maker="tests.maker:repeating_reply") as endpoint:
        trials, config = tried(tmp_path, endpoint.url, 12, None, curate={"filters": strict, "max_seed_overlap": 1})
    lost = summarise(trials, config.prices).lost
    assert lost["dedup"]["duplicate"]
    assert lost["curate"]["WordCountFilter"]
    text = printed(trials, 200, terminal=False)
    assert "→ dedup: rejected (dedup): duplicate: the same as" in text
    assert "→ filters: rejected (WordCountFilter): WordCountFilter: score" in text


def test_nothing_is_left_running_or_lying_about(tmp_path, endpoint, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = set(threading.enumerate())
    tried(tmp_path, endpoint.url)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "curator-sdg-teacher"]
    assert not list(scratch.iterdir())


def test_a_place_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path):
    (tmp_path / "run.preview").write_text("a file")
    done = run("preview", write_config(tmp_path, URL), "-n", 1)
    assert done.returncode == 1
    assert "run.preview/journal: cannot be made (Not a directory); choose another place" in done.stderr


def test_siblings_of_a_seed_are_all_shown(tmp_path, endpoint):
    trials, config = tried(tmp_path, endpoint.url, generate={"questions_per_seed": 3})
    assert [question.sample for question in trials[0].questions] == [0, 1, 2]
    assert summarise(trials, config.prices).questions == 3
    assert "question 3 of 3: reply" in printed(trials, 80)


def test_what_fails_in_transport_is_pending_and_asked_again(tmp_path):
    config = {"teacher": {"max_retries": 0, "max_failure_share": 1.0}}
    with running_endpoint(maker=MAKER, server_error=1.0, fault_tries=-1) as endpoint:
        path = write_config(tmp_path, endpoint.url, **config)
        done = run("preview", path, "-n", 1, "--task", "gsm8k")
    assert done.returncode == 3
    assert "→ question: pending (generate_questions): server_error: HTTP 500" in done.stdout
    with running_endpoint(maker=MAKER) as endpoint:
        again = run("preview", write_config(tmp_path, endpoint.url, **config), "-n", 1, "--task", "gsm8k")
    assert again.returncode == 0
    assert "→ question: accepted" in again.stdout


def test_several_teachers_are_asked_and_the_bill_is_by_model(tmp_path, endpoint):
    with running_endpoint(maker=MAKER, model="other") as other:
        teachers = {"solver": {"model": "other", "base_urls": [other.url], "price": {"prompt": 10, "completion": 10}}}
        free = {"price": {"prompt": 0, "completion": 0}}
        trials, config = tried(tmp_path, endpoint.url, enrich={"teacher": "solver"}, teachers=teachers, teacher=free)
        assert len(other.stats()["asked"]) == 5
    [question] = trials[0].questions
    assert {turn.model for vote in question.votes for turn in vote.turns} == {"other"}
    paid = sum(turn.prompt_tokens + turn.completion_tokens for vote in question.votes for turn in vote.turns)
    assert summarise(trials, config.prices).cost == pytest.approx(paid * 10 / 1e6)
    assert summarise(trials, {**config.prices, "other": None}).cost is None


def test_questions_are_shown_also_where_nobody_can_answer_them(tmp_path, endpoint):
    down = {"down": {"model": "m", "base_urls": [URL]}}
    done = run("preview", write_config(tmp_path, endpoint.url, teachers=down, enrich={"teacher": "down"}), "-n", 2)
    assert done.returncode == 3
    assert done.stdout.count("→ question: accepted") == 2
    assert done.stdout.count("→ tally: pending: no_teacher: ") == 2
    assert URL in done.stdout
    assert "enrich: no_teacher 2" in done.stdout


def test_a_recording_of_a_preview_can_be_previewed(tmp_path, endpoint):
    trials, _ = tried(tmp_path, endpoint.url, 3, None)
    recorded = {"engine": "recorded", "recording": str(tmp_path / "journal"), "base_urls": []}
    folder = tmp_path / "again"
    folder.mkdir()
    again, _ = tried(folder, endpoint.url, 3, None, teacher=recorded)
    assert [trial.questions[0].examples for trial in again] == [trial.questions[0].examples for trial in trials]
    assert not any(turn.known for trial in again for turn in trial.questions[0].turns)


# ---- which seeds -------------------------------------------------------------------------------------------------


def test_the_seeds_are_those_that_the_run_asks_about_first(tmp_path):
    path = write_config(tmp_path, URL)
    config = load(path)
    before = pick_seeds(config, 6)
    assert "rows of 12 tasks" in before.told[0]
    assert run("run", path, "--until", "seeds").returncode == 0
    shards = list_shards(tmp_path / "run" / "seeds").values()
    first = [record for shard in shards for record in to_records(read_rows(shard.path), SEED)]
    after = pick_seeds(config, 6)
    assert str(tmp_path / "run") in after.told[0]
    assert before.seeds == after.seeds == first[:6]
    of_task = pick_seeds(config, 2, "gsm8k").seeds
    assert of_task == [record for record in first if record["task"] == "gsm8k"][:2]


def test_seeds_of_a_run_that_has_another_configuration_by_now_are_not_used(tmp_path):
    path = write_config(tmp_path, URL, seeds={"limit_per_task": 2})
    assert run("run", path, "--until", "seeds").returncode == 0
    assert "run" in pick_seeds(load(path), 1).told[0]
    changed = pick_seeds(load(write_config(tmp_path, URL)), 99, "gsm8k")
    assert "rows of gsm8k" in changed.told[0]
    assert len(changed.seeds) > 2


def test_of_a_large_split_one_part_is_read(tmp_path):
    source = next((QUICKSTART / "data").glob("*openbookqa*/*/train.jsonl"))
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    folder = tmp_path / "data" / source.relative_to(QUICKSTART / "data").parent
    folder.mkdir(parents=True)
    with (folder / "train.jsonl").open("w") as file:
        for number in range(9_000):
            row = rows[number % len(rows)]
            stem = f"{row['question_stem']} ({number})"
            file.write(json.dumps({**row, "id": str(number), "question_stem": stem, "pad": "x" * 1000}) + "\n")
    config = load(write_config(tmp_path, URL, seeds={"data_root": str(tmp_path / "data"), "tasks": ["openbookqa"]}))
    picked = pick_seeds(config, 5)
    assert len(picked.seeds) == 5
    ids = [found["seed_id"] for found in picked.seeds]
    assert ids == sorted(ids)
    assert re.search(r"openbookqa \(1 of [3-9]\)", "\n".join(picked.told))


def test_rows_that_make_no_seed_are_passed_over_and_told(tmp_path):
    picked = pick_seeds(load(write_config(tmp_path, URL)), 99)
    assert len(picked.seeds) >= 56
    assert "passed over, as they make no seeds: gold_out_of_range 2" in "\n".join(picked.told)


def test_errors_are_one_clear_message(tmp_path):
    path = write_config(tmp_path, URL, seeds={"exclude": ["piqa"]})
    for task, words in (
        ("gsm8kk", "did you mean 'gsm8k'?"),
        ("xyz", "seeds.tasks has no such task; it has arc_easy, boolq"),
        ("piqa", "is left out: seeds.exclude"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            pick_seeds(load(path), 1, task)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="the local mirror does not hold this split"):
        pick_seeds(load(write_config(tmp_path, URL, seeds={"data_root": str(tmp_path / "empty")})), 1, "gsm8k")


def test_an_endpoint_that_is_down_ends_it_with_its_address(tmp_path):
    done = run("preview", write_config(tmp_path, URL), "-n", 1)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert URL in done.stderr


def test_a_row_without_what_a_prompt_needs_is_told(tmp_path):
    config = load(write_config(tmp_path, URL))
    [trial] = try_out(config, [seed(options=["heart"])], tmp_path / "journal")
    assert trial.questions[0].verdicts["generate"].reason == "bad_record"
    assert "bad_record: it lacks options" in printed([trial], 200, terminal=False)
