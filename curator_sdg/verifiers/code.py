"""Programs are equal when they are the same but for names, layout, comments, docstrings and annotations.

This is a strict rule: two right programs of different build count as different answers, so that a vote on code
accepts only what several samples wrote alike. It never runs the code.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from typing import Any

_BUILTINS = frozenset(dir(builtins))
_FENCED = re.compile(r"\s*```[\w+-]*[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def bare_code(text: str) -> str:
    """Return a program without the code fence around it."""
    fenced = _FENCED.fullmatch(text)
    return fenced[1] if fenced else text


def parse_code(source: str) -> ast.Module:
    """Return the syntax tree of a program, with or without a code fence.

    Raises:
        SyntaxError: It is no Python, or too deeply nested to be read.
    """
    try:
        return ast.parse(bare_code(source))
    except SyntaxError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(f"{type(error).__name__}: {error}") from error


def defined_names(source: str) -> set[str] | None:
    """Return the names of the functions and classes in a program, or null where it does not parse."""
    try:
        tree = parse_code(source)
    except SyntaxError:
        return None
    return {node.name for node in ast.walk(tree) if isinstance(node, _Function | ast.ClassDef)}


def canonical(source: str) -> str | None:
    """Return a program's normal form, or null where it does not parse.

    Names that the program binds for itself, arguments among them, are numbered in the order of their appearance.
    What others know keeps its name: functions at top level, classes and all they hold, imports, builtins, and
    arguments that are passed by name.
    """
    try:
        tree = parse_code(source)
        return ast.dump(_Canonical(tree).visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _bound(node: ast.AST) -> Iterator[str | None]:
    """Yield the names that one node binds."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar():
            yield node.name
        case ast.MatchMapping():
            yield node.rest
        case ast.arg():
            yield node.arg
        case ast.Name(ctx=ast.Store()):
            yield node.id


def _kept(tree: ast.Module) -> Iterator[str]:
    """Yield the names that somebody else knows."""
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for statement in tree.body:
        if isinstance(statement, _Function):
            yield statement.name
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                yield node.name
                for statement in node.body:
                    for inner in [statement] if isinstance(statement, _Function) else ast.walk(statement):
                        yield from filter(None, _bound(inner))
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    yield (alias.asname or alias.name).partition(".")[0]
            case ast.keyword(arg=str(name)) if name in arguments:
                yield name


class _Canonical(ast.NodeTransformer):
    """Renames what is private to the program, and drops what does not run."""

    def __init__(self, tree: ast.Module) -> None:
        bound = {name for node in ast.walk(tree) for name in _bound(node) if name is not None}
        self.private = bound - _BUILTINS - set(_kept(tree))
        self.fields = {id(line) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for line in node.body}
        self.names: dict[str, str] = {}

    def _name(self, name: str) -> str:
        # The mark is no part of an identifier, so that no kept name can look like a numbered one.
        return self.names.setdefault(name, f"§{len(self.names)}") if name in self.private else name

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | _Function) and len(node.body) > 1:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
        return super().generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.name, node.returns = self._name(node.name), None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg, node.annotation = self._name(node.arg), None
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._name(node.id)
        return node

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> ast.AST:
        node.names = [self._name(name) for name in node.names]
        return node

    visit_Nonlocal = visit_Global  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar) -> ast.AST:
        if node.name is not None:
            node.name = self._name(node.name)
        return self.generic_visit(node)

    visit_MatchAs = visit_MatchStar = visit_ExceptHandler  # noqa: N815

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        if node.rest is not None:
            node.rest = self._name(node.rest)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if id(node) in self.fields:  # a dataclass is made of its annotations
            return self.generic_visit(node)
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign(targets=[node.target], value=node.value))


def same_code(a: str, b: str) -> bool:
    """Whether two programs have the same normal form; what does not parse is equal to nothing."""
    left = canonical(a)
    return left is not None and left == canonical(b)
