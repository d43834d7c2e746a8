"""Programs are equal when they are the same but for names, layout, comments, docstrings and annotations.

This is a strict rule: two right programs of different build count as different answers, so that a vote on code
accepts only what several samples wrote alike. It never runs the code.
"""

from __future__ import annotations

import ast
import builtins
from typing import Any

_BUILTINS = frozenset(dir(builtins))


def canonical(source: str) -> str | None:
    """Return a program's normal form, or null where it does not parse.

    Local names and arguments become ``v0, v1, ...`` in the order of their appearance; function names at top level,
    attributes, imports and builtins keep theirs, because tests and the library know them.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    public = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    try:
        return ast.dump(_Canonical(public).visit(tree))
    except RecursionError:
        return None


class _Canonical(ast.NodeTransformer):
    """Renames what is private to the program, and drops what does not run."""

    def __init__(self, public: set[str]) -> None:
        self.kept = public | _BUILTINS
        self.names: dict[str, str] = {}

    def _name(self, name: str) -> str:
        return name if name in self.kept else self.names.setdefault(name, f"v{len(self.names)}")

    def visit_Import(self, node: ast.Import) -> ast.AST:
        self.kept |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        self.kept |= {alias.asname or alias.name for alias in node.names}
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self._name(node.name)
        node.returns = None
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(node.body) > 1:
            node.body = node.body[1:]
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg, node.annotation = self._name(node.arg), None
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._name(node.id)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        # A keyword names a parameter: rename it only where that parameter is the program's own.
        if node.arg is not None:
            node.arg = self.names.get(node.arg, node.arg)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign(targets=[node.target], value=node.value))


def same_code(a: str, b: str) -> bool:
    """Whether two programs have the same normal form; what does not parse is equal to nothing."""
    left = canonical(a)
    return left is not None and left == canonical(b)
