import pytest

from curator_sdg.curation.overlap import containment, shingles
from curator_sdg.curation.questions import seed_overlap
from tests.records import question, seed

TEXT = "A bakery sells 24 loaves in the morning and twice as many in the afternoon. How many loaves is that?"


def test_a_text_is_contained_in_itself_and_not_in_another():
    assert containment(TEXT, TEXT) == 1
    assert containment(TEXT, "Which organ pumps blood through the body of a horse?") == 0


def test_other_numbers_do_not_make_another_text():
    assert containment(TEXT.replace("24", "1,350.5"), TEXT) == 1


def test_case_and_punctuation_do_not_make_another_text():
    assert containment(TEXT.upper().replace(",", "").replace(".", "!"), TEXT) == 1


def test_scripts_without_blanks_are_compared_by_characters():
    a = "太郎さんは朝にパンを二十四個売り、午後にはその二倍を売りました。合計で何個ですか。"
    assert containment(a, a) == 1
    assert containment(a, "馬の体に血液を送り出す器官はどれですか。次の中から一つ選びなさい。") == 0


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("東京 の 花", "京 の 花", False),
        ("ดอกไม้ในสวน", "ดอกไม้ในสวน", True),
        ("대한민국의 수도는 어디입니까", "어디입니까 수도는 대한민국의", False),
        ("Rindfleischetikettierungsüberwachung ist", "Rindfleischetikettierungsüberwachung war", False),
    ],
)
def test_characters_are_compared_by_script_not_by_the_length_of_words(a, b, same):
    assert (containment(a, b) == 1) is same
    assert containment(a, a) == 1


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("대한민국의 수도는 어디입니까", ("대한민국의", "수도는", "어디입니까")),
        ("سيارات المستشفيات والمستوصفات", ("سيارات", "المستشفيات", "والمستوصفات")),
        ("東京", ("東", "京")),
        ("太郎 さん は", ("太", "郎", "さ", "ん", "は")),
    ],
)
def test_only_scripts_without_blanks_are_cut_into_characters(text, first):
    assert shingles(text) == {first}


@pytest.mark.parametrize("text", ["", "?"])
def test_a_text_without_words_is_contained_in_nothing(text):
    assert containment(text, TEXT) == 0


def test_the_same_question_with_reordered_options_is_a_copy_of_its_seed():
    one = seed(question="Why?", options=["a", "b", "c"])
    assert seed_overlap(question(question="why?", options=["c", "A", "b"]), one) == 1


def test_a_new_question_with_the_same_labels_is_no_copy():
    labels = {"answer_format": "label", "framing": "classification", "options": ["True", "False"]}
    one = seed(**labels, context="The museum opens at nine on every day of the week.", question="It opens at nine.")
    other = question(**labels, context="Lena planted forty tulips along the garden wall.", question="She grew roses.")
    assert seed_overlap(other, one) == 0
