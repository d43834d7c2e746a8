"""Rows in the hub's columns, written for these tests, and where a mirror keeps them."""

import json
from pathlib import Path

from curator_sdg.seeds import Source, load_catalog

CHOICES = {"text": ["salt", "sand", "sugar"], "label": ["A", "B", "C"]}

ROWS = {
    "arc_easy": {"id": "x1", "question": " Which of these is sweet? ", "choices": CHOICES, "answerKey": "C"},
    "piqa": {"goal": "Open a jar.", "sol1": "Twist the lid.", "sol2": "Twist the glass.", "label": 0},
    "commonsense_qa": {
        "id": "x2",
        "question": "Where does a cook keep salt?",
        "question_concept": "salt",
        "choices": {"label": list("ABCDE"), "text": ["garage", "roof", "kitchen", "river", "attic"]},
        "answerKey": "C",
    },
    "openbookqa": {"id": "x3", "question_stem": "Ice turns into water when", "choices": CHOICES, "answerKey": "A"},
    "sciq": {
        "question": "What do bees make?",
        "distractor1": "milk",
        "distractor2": "silk",
        "distractor3": "wax paper",
        "correct_answer": "honey",
        "support": " Bees make honey from nectar.",
    },
    "winogrande": {
        "sentence": "The cup did not fit into the box because the _ was too small.",
        "option1": "cup",
        "option2": "box",
        "answer": "2",
    },
    "sglue_rte": {"premise": "Ana sold her boat.", "hypothesis": "Ana owns the boat.", "idx": 0, "label": 1},
    "boolq": {"question": "is salt soluble", "passage": "Salt dissolves in water.", "idx": 0, "label": 1},
    "gsm8k": {
        "question": "A crate holds 24 jars. How many jars do 50 crates hold?",
        "answer": "One crate holds 24 jars.\n50 crates hold 50*24=<<50*24=1200>>1,200 jars.\n#### 1,200",
    },
    "drop": {
        "section_id": "s",
        "query_id": "q",
        "passage": "The Owls scored 3 goals, two by Kim and one by Lee.",
        "question": "How many goals did the Owls score?",
        "answer": {"number": "3", "date": {"day": "", "month": "", "year": ""}, "spans": []},
        "validated_answers": {"number": [], "date": [], "spans": []},
    },
    "mbpp": {
        "task_id": 1,
        "text": "Write a function to double a number.",
        "code": "def double(x): \r\n\treturn 2 * x",
        "test_list": ["assert double(1) == TWO", "assert double(0) == 0", "assert double(2) == 4"],
        "test_setup_code": "TWO = 2",
        "challenge_test_list": [],
    },
    "nq_open": {"question": "who wrote faust", "answer": ["Goethe", "goethe", "Johann Wolfgang von Goethe"]},
}


def source_of(task: str) -> Source:
    return load_catalog().entry(task).source


def file_of(root: Path, task: str) -> Path:
    source = source_of(task)
    folder = root / source.dataset_path.replace("/", "__") / (source.dataset_name or "default")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{source.split}.jsonl"


def write(root: Path, task: str, rows: list) -> Path:
    """Write the training split of ``task``; a text in ``rows`` becomes a line as it is."""
    file = file_of(root, task)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
