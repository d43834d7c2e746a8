import pytest

from curator_sdg.verifiers import VERIFIERS, same_code, same_number, same_text


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1,250.0", "1250"),
        ("3/4", "0.75"),
        ("$72", "72 dollars"),
        ("$72$", "72"),
        ("2 1/2", "2.5"),
        ("25%", "25"),
        ("٣٥", "35"),
        ("1e3", "1000"),
        ("−4", "-4"),
        ("3 million", "3,000,000"),
        (".5", "1/2"),
        ("12.", "12"),
    ],
)
def test_numbers_are_equal_by_value(a, b):
    assert same_number(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [("-3", "3"), ("1,2", "12"), ("3/0", "3/0"), ("12:30", "12"), ("3 million", "3"), ("seven", "seven"), ("", "")],
)
def test_numbers_are_not_equal(a, b):
    assert not same_number(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("The Nile", "nile"),
        ("12 May, 1999", "12 May 1999"),
        ("«Ja»", "ja"),
        ("Mary-Jane", "Mary Jane"),
        ("1.50", "1.5"),
    ],
)
def test_short_answers_are_equal_by_their_words(a, b):
    assert same_text(a, b)


@pytest.mark.parametrize(("a", "b"), [("the", "a"), ("-5", "5"), ("Paris", "Paris, Texas"), ("1.5", "15")])
def test_short_answers_are_not_equal(a, b):
    assert not same_text(a, b)


def test_programs_are_equal_but_for_names_layout_comments_and_annotations():
    a = "def f(nums):\n    '''Sum of squares.'''\n    return sum(x * x for x in nums)"
    b = "def f(values: list[int]) -> int:\n  # squares\n  return sum(v*v for v in values)"
    assert same_code(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("def f(a, b):\n    return a - b", "def f(a, b):\n    return b - a"),
        ("def f(a):\n    return a.x", "def f(a):\n    return a.y"),
        ("def f(a):\n    return len(a)", "def f(a):\n    return sum(a)"),
        ("def f(a):\n    return a", "def g(a):\n    return a"),
        ("def f(:", "def f(:"),
    ],
)
def test_programs_are_not_equal(a, b):
    assert not same_code(a, b)


def test_an_unparsable_answer_is_equal_to_nothing_not_even_itself():
    assert not VERIFIERS["number"].equal("about ten", "about ten")
