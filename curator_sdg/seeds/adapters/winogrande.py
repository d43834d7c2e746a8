"""WinoGrande: a sentence with a blank and two fillers.

lm-eval scores the shared ending after each half-filled sentence: its text is the gold's *index*, its choices are
beginnings, its target is the ending. A seed has the sentence as the question and the fillers as the options.
"""

from __future__ import annotations

from curator_sdg.seeds.adapters.base import Content, Document, Unusable
from curator_sdg.seeds.adapters.choice import check_options, gold_index

BLANK = "_"


def adapt(document: Document) -> Content:
    """Take the sentence and the fillers from the row, the gold from lm-eval's ``doc_to_text``."""
    question = document.question()
    if question.count(BLANK) != 1:
        raise Unusable("no_blank", f"the sentence has {question.count(BLANK)} blanks")
    options = check_options(document.options() or [])
    try:
        gold = document.text()
    except Unusable as error:  # lm-eval looks the answer up in a dict of the two it knows
        raise Unusable("gold_out_of_range", f"the answer is {document.row['answer']!r}") from error
    index = gold_index(gold, [], len(options))
    ending = document.target()
    scored = [f"{beginning} {ending}" for beginning in document.choices()]
    return Content(
        question=question, options=options, answer_index=index, answer=options[index], prompt="\n".join(scored)
    )
