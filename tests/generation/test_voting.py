import pytest

from curator_sdg.generation.voting import Vote, tally
from curator_sdg.verifiers import same_label, same_number


def votes(*answers):
    """A text is an answer, a tuple how the sample failed."""
    return [
        Vote(i, *answer) if isinstance(answer, tuple) else Vote(i, "answered", answer)
        for i, answer in enumerate(answers)
    ]


def test_a_majority_of_all_samples_wins_and_margins_are_over_all_samples():
    result = tally(votes("a", "b", "a", "a", ("garbage",)), same_label, 0.5)
    assert result.winner is not None
    assert (result.winner.answer, result.winner.samples) == ("a", (0, 2, 3))
    assert (result.k, result.share, result.margin) == (5, 0.6, 0.4)


def test_unread_replies_stay_in_the_denominator():
    assert tally(votes("a", "a", ("cut",), ("garbage",)), same_label, 0.5).winner is None


def test_exactly_the_share_is_not_more_than_the_share():
    assert tally(votes("a", "a", "b", "c"), same_label, 0.5).winner is None


def test_a_tie_has_no_winner_even_below_half():
    result = tally(votes("a", "b", "a", "b", ("unclear",)), same_label, 0.2)
    assert result.winner is None
    assert result.reason == "no_majority"


def test_a_vote_joins_the_first_representative_that_equals_it():
    result = tally(votes("0.5", "1/2", ".50", "2", "2.0"), same_number, 0.5)
    assert [(b.answer, b.samples) for b in result.ballots] == [("0.5", (0, 1, 2)), ("2", (3, 4))]


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        (["several_right", "several_right", "several_right", "cut", "cut"], "several_right"),
        (["none_right", "unclear", "unclear", "cut", "garbage"], "unanswerable"),
        (["cut", "cut", "cut", "garbage", "garbage"], "cut"),
        (["cut", "cut", "garbage", "garbage", "schema"], "no_majority"),
    ],
)
def test_a_question_without_answers_is_rejected_for_what_most_samples_had(outcomes, reason):
    assert tally(votes(*[(outcome,) for outcome in outcomes]), same_label, 0.5).reason == reason


def test_the_order_of_equal_counts_is_that_of_the_samples():
    assert [b.answer for b in tally(votes("z", "a"), same_label, 0.5).ballots] == ["z", "a"]
