import numpy as np

from curator_sdg.curation.dedup.exact import first_occurrence, shard_digests, write_kept
from curator_sdg.ledger import Account
from curator_sdg.records import QUESTION, to_table
from curator_sdg.store import REJECTS, publish_shard, read_rows
from tests.records import question


def publish(tmp_path, *questions):
    table = to_table(questions, QUESTION)
    return publish_shard(tmp_path / "questions", table, Account("000000", planned=len(questions)), "f")


def test_the_first_of_its_kind_is_found_for_every_position():
    digests = np.array([b"b", b"a", b"b", b"c", b"a", b"b"], dtype="S16")
    assert first_occurrence(digests).tolist() == [0, 1, 0, 3, 1, 0]


def test_questions_are_compared_by_identity_not_by_spelling(tmp_path):
    shard = publish(
        tmp_path,
        question(question_id="a", question="Which gas?", options=["x", "y"]),
        question(question_id="b", question="WHICH  gas?", options=["Y", "x"]),
        question(question_id="c", question="Which gas?", options=["x", "z"]),
    )
    assert first_occurrence(shard_digests(shard.path)).tolist() == [0, 0, 2]


def test_a_shard_of_kept_ids_accounts_for_every_question(tmp_path):
    shard = publish(tmp_path, question(question_id="a"), question(question_id="b"))
    kept = write_kept(tmp_path / "dedup", shard, [None, "row 0 of questions/000000"], "u", "f")
    assert read_rows(kept.path)["question_id"].to_pylist() == ["a"]
    [reject] = read_rows(kept.path, REJECTS).to_pylist()
    assert (reject["record_id"], reject["reason"]) == ("b", "duplicate")
    assert reject["detail"] == "the same as row 0 of questions/000000"
    assert "carbon dioxide" in reject["raw"]
    assert (kept.counts.planned, kept.counts.out) == (2, 1)
