import pytest

from curator_sdg.verifiers import (
    VERIFIERS,
    match_option,
    option_key,
    parse_number,
    same_code,
    same_label,
    same_number,
    same_text,
    usable,
)
from tests.records import question


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
        ("2½", "2.5"),
        ("5km", "5"),
        ("9.8 m/s²", "9.8"),
        ("20°C", "20"),
        ("60 miles per hour", "60"),
        ("5 hundred thousand dollars", "500,000"),
        ("5万", "50000"),
        ("25人", "25"),
        ("5 किमी", "5"),
        ("72 €", "72"),
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
    "text",
    [
        *("2x", "2π", "5k", "5 x", "5th", "10²", "10^2", "5!", "--5", "12,34"),
        *("5 and a half", "5 or six", "50 Shades of Grey", "5 am", "100 BC", "9" * 5000, "1e9999", "½" * 399),
    ],
)
def test_what_is_not_one_plain_number_is_none(text):
    assert parse_number(text) is None


def test_large_exponents_are_read_up_to_three_digits():
    assert parse_number("1e999") == 10**999


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("The Nile", "nile"),
        ("12 May, 1999", "12 May 1999"),
        ("«Ja»", "ja"),
        ("Mary-Jane", "Mary Jane"),
        ("1.50", "1.5"),
        ("A", "a"),
        ("?", "?"),
        ("5 AM", "5 am"),
        ("72 dollars", "$72"),
        ("25%", "25 percent"),
        ("x + 1", "x+1"),
        ("iron (III)", "Iron(III)"),
        ("1914–1918", "1914-1918"),
        ("10²", "10^2"),
    ],
)
def test_short_answers_are_equal_by_their_words(a, b):
    assert same_text(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *[("the", "a"), ("-5", "5"), ("Paris", "Paris, Texas"), ("1.5", "15"), ("Hepatitis A", "Hepatitis")],
        *[("12 May", "12 June"), ("5 AM", "5 PM"), ("100 BC", "100 AD"), ("50 Cent", "50 Shades of Grey")],
        *[("3 dogs", "3 cats"), ("72", "72 dollars"), ("C#", "C"), ("C++", "C"), ("F#", "F"), ("x<y", "x>y")],
        *[("-x", "x"), ("x/y", "x*y"), ("x^2", "x*2"), ("10²", "102"), ("x-y", "x y"), ("5!", "5"), ("1:2", "1,2")],
        *[("2(x+1)", "2x+1"), ("(1, 2)", "[1, 2]"), ("का", "की")],
    ],
)
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
        (
            "def f(xs, key):\n    return sorted(xs, key=key)",
            "def f(xs, reverse):\n    return sorted(xs, reverse=reverse)",
        ),
        ("class S:\n    def push(self): pass", "class S:\n    def add(self): pass"),
        ("class P:\n    x: int", "class P:\n    y: int"),
        (
            "def f():\n    class A: pass\n    class B: pass\n    return A()",
            "def f():\n    class A: pass\n    class B: pass\n    return B()",
        ),
        (
            "def g(a, b):\n    return a - b\ndef f(x):\n    return g(a=x, b=1)",
            "def g(b, a):\n    return b - a\ndef f(x):\n    return g(a=x, b=1)",
        ),
        ("from math import *\ndef f(x):\n    return sin(x)", "from math import *\ndef f(x):\n    return cos(x)"),
        ("-" * 100_000 + "1", "-" * 100_000 + "1"),
        ("(" * 5000, "(" * 5000),
        ("a\0b", "a\0b"),
    ],
)
def test_programs_are_not_equal(a, b):
    assert not same_code(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("def f(a):\n    return a", "```python\ndef f(b):\n    return b\n```"),
        ("async def f(a):\n    return a", "async def f(b):\n    return b"),
        (
            "def f():\n    n = 0\n    def g():\n        nonlocal n\n        n += 1\n    g()\n    return n",
            "def f():\n    k = 0\n    def h():\n        nonlocal k\n        k += 1\n    h()\n    return k",
        ),
        (
            "try:\n    f()\nexcept ValueError as e:\n    print(e)",
            "try:\n    f()\nexcept ValueError as error:\n    print(error)",
        ),
    ],
)
def test_programs_are_equal_but_for_a_fence_and_private_names(a, b):
    assert same_code(a, b)


def test_an_unparsable_answer_is_equal_to_nothing_not_even_itself():
    assert not VERIFIERS["number"].equal("about ten", "about ten")


@pytest.mark.parametrize(
    ("options", "text", "index"),
    [
        (["oxygen", "neon"], "Neon.", 1),
        (["oxygen", "neon"], "helium", None),
        (["oxygen", "neon"], " ", None),
        (["AA", "Aa", "aa"], "Aa", 1),
        (["AA", "Aa", "aa"], "aa.", 2),
        (["AA", "Aa", "aa"], "aA", None),
        (["102", "10²"], "10²", 1),
        (["102", "10²"], "10^2", 1),
        (["5 mW", "5 MW"], "5  MW", 1),
        (["5", "5!"], "5!", 1),
        (["?", "!"], "!", 1),
    ],
)
def test_a_text_means_the_one_option_that_it_fits_best(options, text, index):
    assert match_option(options, text) == index


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("neon", " neon. ", True),
        ("１０ km", "10  km", True),
        ("AA", "Aa", False),
        ("10²", "102", False),
        ("?", "!", False),
        ("5 mW", "5 MW", False),
    ],
)
def test_options_are_the_same_but_for_width_spacing_and_punctuation_at_the_ends(a, b, same):
    assert same_label(a, b) is same
    assert (option_key(a) == option_key(b)) is same


@pytest.mark.parametrize(
    ("fields", "answer", "fits"),
    [
        ({}, "Carbon dioxide", True),
        ({}, "helium", False),
        ({"answer_format": "number"}, "12", True),
        ({"answer_format": "number"}, "twelve", False),
        ({"answer_format": "span", "context": "Jerome left Rome in 385."}, "Rome", True),
        ({"answer_format": "span", "context": "Jerome left in 385."}, "Rome", False),
        ({"answer_format": "span", "context": "Jerome left in 385."}, "", False),
        ({"answer_format": "span", "context": "太郎は東京に住む。"}, "東京", True),
        ({"answer_format": "span", "context": "It is 10² m."}, "10²", True),
        ({"answer_format": "span", "context": "उसकी किताब"}, "उसक", False),
        ({"answer_format": "code", "tests": ["assert f(1)"]}, "def f(a): return a", True),
        ({"answer_format": "code", "tests": ["assert f(1)"]}, "a = 1", False),
        ({"answer_format": "code"}, "I cannot do it.", False),
        ({"answer_format": "text"}, "Nile", True),
        ({"answer_format": "text"}, " ", False),
    ],
)
def test_an_answer_is_usable_in_the_form_that_was_asked_for(fields, answer, fits):
    record = question(**({"options": None, **fields} if fields else fields))
    assert usable(record, answer) is fits
