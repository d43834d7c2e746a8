"""GSM8K: ``rationale with <<48/2=24>> calculator marks``, then ``#### 24``."""

from __future__ import annotations

import re

from curator_sdg.seeds.adapters.base import Content, Document, Unusable, number_of, text_of

_MARK = re.compile(r"<<[^<>]*>>")


def adapt(document: Document) -> Content:
    """Split the target into rationale and number; thousands' commas go, as lm-eval ignores them."""
    target = text_of(document.target(), "answer")
    rationale, mark, final = target.rpartition("####")
    if not mark or not final.strip():
        raise Unusable("unparsed_answer", "no answer after ####")
    answer = number_of(final)
    if answer is None:
        raise Unusable("unparsed_answer", f"{final.strip()!r} is no number")
    return Content(question=document.question(), answer=answer, rationale=_MARK.sub("", rationale).strip() or None)
