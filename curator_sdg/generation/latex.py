"""LaTeX in JSON: backslashes that a teacher forgot to double."""

from __future__ import annotations

import re

# A teacher that writes LaTeX into JSON forgets to double its backslashes: "\frac", "\times" and "\neq" then read as a
# form feed, a tab or a line break and the rest of the word. What to double, within one JSON text:
# - An escape that JSON does not know ("\alpha", "\(") is always meant literally.
# - "\b" and "\f" need no look ahead: no text of ours has such characters, so they are put back when it is read.
# - A command whose rest is no word ("\times" would be a tab and "imes") is always LaTeX.
# - Of some commands the rest may well begin a line of code ("\neq = 1" as "eq = 1", "\text = p" as "ext = p"). They
#   are LaTeX only before "{", "_{" or "^"; in the middle of a line ("x \to y"); between dollar signs; or if the text
#   has another command that lost its backslash and none that is properly doubled, for who doubles them means a line
#   break by "\n".
#   ("\ni" is left out: "i = 0" on a new line is far more common.)
EATEN = {"\f": "\\f", "\b": "\\b"}
_ESCAPED = '"\\/bfnrtu\n'  # a backslash at a line's end is left to the repair
_SURE = frozenset(
    re.findall(
        r"\w+",
        """times theta tilde triangle triangleq triangleleft triangleright textbf textit textrm textsf
        texttt textstyle therefore thickapprox thicksim tanh twoheadrightarrow nabla notin nonumber
        nrightarrow nleftarrow nRightarrow nLeftrightarrow nsubseteq nsupseteq nparallel ncong rho right
        rangle rightarrow rightarrows rightleftharpoons rightharpoonup rm rfloor rceil rbrace rbrack
        rvert rVert rtimes""",
    )
)
_UNSURE = frozenset(
    re.findall(
        r"\w+",
        """text tan tau to top tfrac tbinom tag not ne neq neg nu nmid nleq ngeq nless ngtr nexists""",
    )
)
_LATEX = frozenset(
    re.findall(
        r"\w+",
        """frac dfrac sqrt alpha beta gamma delta epsilon varepsilon lambda mu sigma phi varphi omega pi psi
        eta zeta kappa Delta Sigma Omega Gamma Phi cdot cdots ldots dots pm mp leq geq le ge approx equiv
        sim sum prod int infty partial left cup cap subset subseteq in forall exists Rightarrow
        Leftrightarrow implies iff mathbb mathrm mathbf mathcal operatorname sin cos log ln lim vec hat
        bar overline underline begin end boldsymbol binom quad circ angle degree perp parallel mid""",
    )
)
_JSON_TEXT = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ESCAPE = re.compile(r"\\(\\|u[0-9a-fA-F]{4}|[a-zA-Z]+|.)", re.DOTALL)
_DOUBLED = re.compile(r"(?<!\\)\\\\([a-zA-Z]{2,})")
_FOLLOWS = re.compile(r"\{|_\{|\^")
# "x \to y", but not "return x \ne = 1" with a blank left over; "x\neq 0", for no line begins "eq 0".
_MID_LINE = re.compile(r"(?<=[\w)}\]] )\\(?!nless|nexists|nmid)[a-z]++(?![ ]*=|\\[nrt])|\\neq[ ][\w\\-]")
# Dollar signs around mathematics, not money: pandoc's rule.
_IN_DOLLARS = re.compile(r"\$(?=\S)[^$]*(?<=\S)\$(?!\d)")


def mend_escapes(text: str) -> str:
    """Double the backslashes in JSON's texts that begin LaTeX, or nothing that JSON knows; the rules are above."""
    return _JSON_TEXT.sub(lambda found: _mend_text(found[0]), text) if "\\" in text else text


def _mend_text(text: str) -> str:
    if "\\" not in text:
        return text
    words = [match[1] for match in _ESCAPE.finditer(text)]
    lost = any(word in _SURE or word in _LATEX for word in words)
    careless = lost and not any(word in _LATEX | _SURE | _UNSURE for word in _DOUBLED.findall(text))
    formulas = [match.span() for match in _IN_DOLLARS.finditer(text)]

    def mend(match: re.Match[str]) -> str:
        word = match[1]
        if word[0] not in _ESCAPED or (word[0] == "u" and len(word) < 5):
            doubled = word != "'"  # JavaScript's escape
            return "\\" + match[0] if doubled else word
        doubled = word in _SURE or (
            word in _UNSURE
            and (
                careless
                or _MID_LINE.match(text, match.start()) is not None
                or _FOLLOWS.match(text, match.end()) is not None
                or any(start < match.start() < end for start, end in formulas)
            )
        )
        return "\\" + match[0] if doubled else match[0]

    return _ESCAPE.sub(mend, text)
