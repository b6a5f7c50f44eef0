"""Generate mutants of a module: small changes of one condition, bound, operation or statement in a function."""

import ast
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True, order=True)
class Mutant:
    """One change of one file, as a piece of its text and what replaces it."""

    path: str
    """The file, from the project's root."""
    start: int
    """Where the replaced piece starts, in bytes of UTF-8."""
    end: int
    after: str
    before: str
    kind: str
    line: int
    function: str
    """The function's name, with those of the classes and functions around it."""

    def __str__(self) -> str:
        """The line that a report shows."""
        before, after = (" ".join(text.split())[:90] for text in (self.before, self.after))
        return f"{self.path}:{self.line} {self.function}: {self.kind}: {before!r} -> {after!r}"

    def applied(self, source: str) -> str:
        """The text of the file with the change."""
        data = source.encode()
        return (data[: self.start] + self.after.encode() + data[self.end :]).decode()


_Change = tuple[str, int, int, str]
"""A kind of change, the start and the end of the piece that it replaces, and the new text."""

_BOUNDS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
}
_ONE_WAY: dict[type[ast.operator], str] = {ast.Sub: "-", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%"}


def mutants_of(path: str, source: str) -> Iterator[Mutant]:
    """All mutants of a file's functions, in the order of the syntax tree. What stands outside functions has none."""
    yield from _Finder(path, source).below(ast.parse(source), (), in_function=False)


class _Finder:
    """Finds the mutants of one file."""

    def __init__(self, path: str, source: str) -> None:
        self._path = path
        self._data = source.encode()
        self._lines = [0, *accumulate(len(line) for line in self._data.splitlines(keepends=True))]

    def below(self, node: ast.AST, names: tuple[str, ...], *, in_function: bool) -> Iterator[Mutant]:
        """The mutants of a node and of all below it."""
        if in_function:
            for kind, start, end, after in self._changes(node):
                line = bisect(self._lines, start)
                if (before := self._data[start:end].decode()) != after:
                    yield Mutant(self._path, start, end, after, before, kind, line, ".".join(names))
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names, in_function = (*names, node.name), in_function or isinstance(node, ast.FunctionDef)
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.arguments | ast.JoinedStr):
                yield from self.below(child, names, in_function=in_function)

    def _changes(self, node: ast.AST) -> Iterator[_Change]:
        """Each change of this node itself."""
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                yield self._negated(test)
            case ast.comprehension(ifs=conditions):
                yield from map(self._negated, conditions)
            case ast.match_case(guard=ast.expr() as guard):
                yield self._negated(guard)
            case ast.BoolOp(op=operator, values=operands):
                for operand in operands:
                    neutral = "True" if isinstance(operator, ast.And) else "False"
                    yield "dropped condition", *self._span(operand), neutral
            case ast.Compare(left=first, ops=operators, comparators=others):
                for (left, right), comparison in zip(pairwise((first, *others)), operators, strict=True):
                    if type(comparison) in _BOUNDS:
                        start, end = self._span(left)[1], self._span(right)[0]
                        between = self._data[start:end].decode()
                        yield "shifted bound", start, end, between.replace(*_BOUNDS[type(comparison)], 1)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ONE_WAY and not _is_text(left):
                after = f"({self._text(right)}) {_ONE_WAY[type(operator)]} ({self._text(left)})"
                yield "swapped operands", *self._span(node), after
            case ast.stmt() if _is_removable(node):
                yield "removed statement", *self._span(node), "pass"

    def _negated(self, condition: ast.expr) -> _Change:
        return "negated condition", *self._span(condition), f"(not ({self._text(condition)}))"

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        if node.end_lineno is None or node.end_col_offset is None:
            raise ValueError(f"{self._path}: parsed without positions")
        return self._lines[node.lineno - 1] + node.col_offset, self._lines[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self._data[start:end].decode()


def _is_text(node: ast.expr) -> bool:
    """Whether `%` after this formats a text."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_removable(statement: ast.stmt) -> bool:
    """Whether the module still compiles and names stay bound without this statement, so that it is worth a try."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
            return False
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete() | ast.Raise() | ast.Continue() | ast.Break():
            return True
        case ast.Assign(targets=targets):
            return all(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
    return False
