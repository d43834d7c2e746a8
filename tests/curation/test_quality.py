import pytest
from nemo_curator.stages.text.filters.heuristic import WordCountFilter
from nemo_curator.tasks import DocumentBatch

from curator_sdg.config import FilterChoice
from curator_sdg.curation.quality import ComposeText, ToCurated, compose_text, filter_stages, load_filter
from curator_sdg.errors import ConfigError
from curator_sdg.ledger import account_of
from curator_sdg.records import ANSWER, CURATED, to_table
from tests.records import answer, trace

PATH = "nemo_curator.stages.text.filters.heuristic:"


def run(records, *choices):
    task = DocumentBatch(dataset_name="d", data=to_table(records, ANSWER))
    account_of(task)
    for stage in [ComposeText(), *filter_stages(choices), ToCurated()]:
        task = stage.process(task)
    return task


def words(least):
    return FilterChoice(filter=PATH + "WordCountFilter", args={"min_words": least, "max_words": 1000})


def test_what_curators_filter_drops_is_a_reject_with_its_name_score_and_text():
    short = answer(question_id="short", traces=[], question="Which gas?")
    task = run([answer(question_id="long"), short], words(10))
    assert task.to_pyarrow()["question_id"].to_pylist() == ["long"]
    [reject] = account_of(task).rejects
    assert (reject["record_id"], reject["reason"]) == ("short", "WordCountFilter")
    assert reject["detail"] == "score 4"
    assert reject["raw"] == "Which gas?\n\ncarbon dioxide"


def test_our_verdict_is_curators_own():
    records = [answer(question_id=str(n), question="word " * n, traces=[]) for n in range(1, 30)]
    kept = run(records, words(12)).to_pyarrow()["question_id"].to_pylist()
    curators = WordCountFilter(min_words=12, max_words=1000)
    own = [r["question_id"] for r in records if curators.keep_document(curators.score_document(compose_text(r)))]
    assert kept == own
    assert 0 < len(kept) < len(records)


def test_records_come_out_of_other_peoples_stages_as_they_went_in():
    records = [answer(), answer(question_id="b", context="c", options=None, tests=["t"], traces=[trace("knowledge")])]
    assert run(records, words(1)).to_pyarrow().equals(to_table(records, CURATED))


def test_a_chain_whose_first_filter_drops_all_goes_through():
    task = run([answer()], words(999), words(1))
    assert task.to_pyarrow().num_rows == 0
    assert [reject["reason"] for reject in account_of(task).rejects] == ["WordCountFilter"]


def test_a_row_without_the_text_that_is_judged_is_kept():
    choice = FilterChoice(filter=PATH + "WordCountFilter", args={"min_words": 3, "max_words": 9}, field="context")
    records = [answer(question_id=str(i), context=c) for i, c in enumerate([None, "Two words.", "Three whole words."])]
    task = run(records, choice)
    assert task.to_pyarrow()["question_id"].to_pylist() == ["0", "2"]
    assert task.to_pyarrow()["context"].to_pylist() == [None, "Three whole words."]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (FilterChoice(filter="no.such:Thing"), r"curate\.filters\.0\.filter: 'no\.such:Thing' cannot be imported"),
        (FilterChoice(filter=PATH + "Nothing"), "cannot be imported"),
        (FilterChoice(filter="os:path"), "is no DocumentFilter"),
        (
            FilterChoice(filter=PATH + "WordCountFilter", args={"least": 3}),
            r"curate\.filters\.0\.args: WordCountFilter",
        ),
    ],
)
def test_a_filter_that_cannot_be_used_is_named(choice, message):
    with pytest.raises(ConfigError, match=message):
        load_filter(choice, "curate.filters.0")
