import subprocess
import sys
from collections import Counter

import pytest

from curator_sdg.identity import normalise_answer, question_identity, seeded_permutation, stable_hash


def test_a_question_is_the_same_whatever_the_case_width_spacing_and_order_of_options():
    one = question_identity("Which gas?", None, ["CO2", "Oxygen"])
    assert one == question_identity(" which  ＧＡＳ? ", "", ["oxygen", "co2"])


@pytest.mark.parametrize(
    "other",
    [
        ("Which gases?", None, ["CO2", "Oxygen"]),
        ("Which gas?", "A.", ["CO2", "Oxygen"]),
        ("Which gas?", None, ["CO2"]),
    ],
)
def test_another_question_context_or_option_is_another_identity(other):
    assert question_identity("Which gas?", None, ["CO2", "Oxygen"]) != question_identity(*other)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        (' "A Frog." ', "a frog"),
        ("-3", "-3"),
        (".5", ".5"),
        ("1,5", "1,5"),
        ("«Ja!»", "ja"),
        ("10²", "10^2"),
        ("x⁻¹", "x^-1"),
        ("2½", "2 1⁄2"),
        ("5!", "5!"),
        ("CO₂", "co2"),
        ("?", "?"),
        (" ", ""),
    ],
)
def test_an_answer_loses_only_what_does_not_change_it(text, folded):
    assert normalise_answer(text) == folded


def test_hashes_are_the_same_in_every_process():
    code = "from curator_sdg.identity import stable_hash; print(stable_hash('ä', 1, None, {'b': 1, 'a': [2]}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == stable_hash("ä", 1, None, {"a": [2], "b": 1})


def test_lone_surrogates_can_be_hashed():
    assert stable_hash("\ud800") != stable_hash("\ud801")


def test_permutations_are_uniform_and_depend_on_the_key_alone():
    counts = Counter(tuple(seeded_permutation(3, "k", i)) for i in range(3000))
    assert len(counts) == 6
    assert all(400 < count < 600 for count in counts.values())
    assert seeded_permutation(9, "k", 1) == seeded_permutation(9, "k", 1)
