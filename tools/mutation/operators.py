"""The mutants of a source file: small changes of its syntax tree, each of which some test ought to notice.

A mutation is made in place in the tree that its file was parsed into; a process makes one and then ends.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

Change = tuple[str, ast.AST]
"""(name of the operator, the node that takes the place)."""

NEGATED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
BOUNDARY: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
TWINS: Final = {"all": "any", "any": "all", "min": "max", "max": "min", "sorted": "list", "reversed": "list"}

SPEAKING: Final = ("_need", "reader.header")
"""Functions whose text is an error's."""

COMPARISON: Final = "comparison"
OTHER: Final = "other"
COMPARING: Final = ("negate", "boundary", "true", "false", "unlink", "no check")
"""Operators whose mutants are comparisons: a changed or missing comparison, or a check that is not made at all."""


@dataclass(frozen=True)
class Place:
    """Where a node is: its function, the lines of its statement, and what surrounds it."""

    function: str = ""
    outermost: tuple[str, int] | None = None
    """Qualified name and first line of the function whose code object holds the node; None: it runs at import."""
    first: int = 0
    last: int = 0
    end: int = 0
    """The last line of what the statement holds: the body of an `if`."""
    text_is_for_people: bool = False


@dataclass
class Mutant:
    """One change of one file. `id` is stable as long as the function's code is."""

    path: str
    place: Place
    operator: str
    original: str
    mutated: str
    make: Callable[[], None] = field(repr=False)
    copy: int = 1
    """Which one of the function's mutants that read alike."""

    @property
    def category(self) -> str:
        """Comparison or other."""
        return COMPARISON if self.operator in COMPARING else OTHER

    @property
    def id(self) -> str:
        """The line that docs/mutants.md has for it."""
        again = "" if self.copy == 1 else f" #{self.copy}"
        where = self.place.function or "module"
        return f"{self.path} {where}: `{self.original}` -> `{self.mutated}`{again}"


def mutants_of(path: str, tree: ast.Module) -> list[Mutant]:
    """All mutants of a parsed file, in the order of the source."""
    seen: dict[str, int] = {}
    found = []
    for place, parent, name, index, operator, node in _walk(tree, Place()):
        original, mutated = _shown(parent, name, index), _text(node)
        if original == mutated:
            continue
        mutant = Mutant(path, place, operator, original, mutated, _setter(parent, name, index, node))
        reads = mutant.id
        mutant.copy = seen[reads] = seen.get(reads, 0) + 1
        found.append(mutant)
    return found


def _setter(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> Callable[[], None]:
    def make() -> None:
        if index is None:
            setattr(parent, name, node)
        else:
            getattr(parent, name)[index] = node

    return make


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 120 else text[:100] + "..." + text[-17:]


def _shown(parent: ast.AST, name: str, index: int | None) -> str:
    old = getattr(parent, name)
    return _text(old if index is None else old[index])


Found = tuple[Place, ast.AST, str, int | None, str, ast.AST]


def _walk(node: ast.AST, place: Place) -> Iterator[Found]:
    """The changes of everything below `node`."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "ctx"):
            continue
        children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if not isinstance(child, ast.AST) or _is_left_alone(node, name, index, child):
                continue
            inner = _enter(node, name, child, place)
            if inner is None:
                continue
            if _same_as_no_branch(node, name, child):
                yield from _walk(child, inner)
                continue
            for operator, new in _changes(child, inner):
                ast.copy_location(new, child)
                ast.fix_missing_locations(new)
                yield inner, node, name, index, operator, new
            yield from _walk(child, inner)


def _same_as_no_branch(parent: ast.AST, name: str, node: ast.AST) -> bool:
    """Whether to leave out the statement is to leave out the branch, which its condition's changes do."""
    return (
        isinstance(node, ast.Raise)
        and isinstance(parent, ast.If)
        and name == "body"
        and len(parent.body) == 1
        and not parent.orelse
    )


def _is_left_alone(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> bool:
    if isinstance(
        node, (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.expr_context, ast.operator, ast.cmpop)
    ):
        return True
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    if name == "body" and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Callable":
        return True
    # The type of a dataclass field or of a cast is for people and mypy.
    return isinstance(parent, ast.Call) and _function(parent) == "cast" and name == "args" and index == 0


def _function(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _enter(parent: ast.AST, name: str, node: ast.AST, place: Place) -> Place | None:
    """The place of a child; None for what is not mutated."""
    if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)) and name == "body" and not place.outermost:
        line = min(item.lineno for item in (parent, *parent.decorator_list))
        place = replace(place, outermost=(place.function, line))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        if node.name in ("__repr__", "__str__"):
            return None
        inner = f"{place.function}.{node.name}" if place.function else node.name
        return replace(place, function=inner, text_is_for_people=False)
    if isinstance(node, ast.stmt):
        body = getattr(node, "body", None)
        last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
        end = node.end_lineno or node.lineno
        place = replace(place, first=node.lineno, last=max(node.lineno, last), end=end)
    if isinstance(node, ast.arguments):
        place = replace(place, first=parent.lineno, last=parent.lineno)  # type: ignore[attr-defined]
    if isinstance(parent, ast.Raise) or (isinstance(parent, ast.Call) and _function(parent) in SPEAKING):
        place = replace(place, text_is_for_people=True)
    if isinstance(parent, ast.keyword) and parent.arg == "strict":
        return None  # to leave the keyword out is the same
    if isinstance(parent, ast.keyword) and parent.arg == "check":
        place = replace(place, text_is_for_people=False)
    return place


def _changes(node: ast.AST, place: Place) -> Iterator[Change]:
    for kind, changes in _OPERATORS:
        if isinstance(node, kind):
            yield from changes(node, place)


def _constant(node: ast.Constant, place: Place) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int):
        yield "constant", ast.Constant(value + 1)
        yield "constant", ast.Constant(value - 1)
    elif isinstance(value, str) and not place.text_is_for_people:
        yield "constant", ast.Constant(value + "!")
    elif isinstance(value, bytes):
        yield "constant", ast.Constant(value + b"!")


def _compare(node: ast.Compare, _place: Place) -> Iterator[Change]:
    for k, op in enumerate(node.ops):
        for name, table in (("negate", NEGATED), ("boundary", BOUNDARY)):
            other = table.get(type(op))
            if other is not None:
                ops = [*node.ops[:k], other(), *node.ops[k + 1 :]]
                yield name, ast.Compare(node.left, ops, node.comparators)
    if len(node.ops) == 2:
        yield "unlink", ast.Compare(node.left, node.ops[:1], node.comparators[:1])
        yield "unlink", ast.Compare(node.comparators[0], node.ops[1:], node.comparators[1:])
    yield "true", ast.Constant(True)
    yield "false", ast.Constant(False)


def _boolean(node: ast.BoolOp, _place: Place) -> Iterator[Change]:
    for k in range(len(node.values)):
        rest = [*node.values[:k], *node.values[k + 1 :]]
        yield "unlink", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    yield "negate", ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)


def _unary(node: ast.UnaryOp, _place: Place) -> Iterator[Change]:
    if isinstance(node.op, ast.Not):
        yield "negate", node.operand
    elif isinstance(node.op, ast.USub):
        yield "arithmetic", node.operand


def _binary(node: ast.BinOp, _place: Place) -> Iterator[Change]:
    other = ARITHMETIC.get(type(node.op))
    if other is not None:
        yield "arithmetic", ast.BinOp(node.left, other(), node.right)
    if isinstance(node.op, ast.Mod):
        yield "arithmetic", node.left


_TEXT: Final = (ast.Constant, ast.JoinedStr)


def _call(node: ast.Call, place: Place) -> Iterator[Change]:
    function = _function(node)
    for k in range(len(node.args) - 1):
        if place.text_is_for_people and all(isinstance(arg, _TEXT) for arg in node.args[k : k + 2]):
            continue
        args = [*node.args[:k], node.args[k + 1], node.args[k], *node.args[k + 2 :]]
        yield "swap", ast.Call(node.func, args, node.keywords)
    for k in range(len(node.keywords)):
        yield "keyword", ast.Call(node.func, node.args, [*node.keywords[:k], *node.keywords[k + 1 :]])
    if function in TWINS:
        yield "twin", ast.Call(ast.Name(TWINS[function], ast.Load()), node.args, [])


def _slice(node: ast.Slice, _place: Place) -> Iterator[Change]:
    if node.lower is not None:
        yield "slice", ast.Slice(None, node.upper, node.step)
    if node.upper is not None:
        yield "slice", ast.Slice(node.lower, None, node.step)


def _choice(node: ast.IfExp, _place: Place) -> Iterator[Change]:
    yield "true", node.body
    yield "false", node.orelse


def _comprehension(node: ast.comprehension, _place: Place) -> Iterator[Change]:
    for k in range(len(node.ifs)):
        rest = [*node.ifs[:k], *node.ifs[k + 1 :]]
        yield "unlink", ast.comprehension(node.target, node.iter, rest, node.is_async)


def _starred(node: ast.Set | ast.List | ast.Tuple, _place: Place) -> Iterator[Change]:
    if isinstance(node, ast.Tuple) and not isinstance(node.ctx, ast.Load):
        return
    for k in range(len(node.elts)):
        rest = [*node.elts[:k], *node.elts[k + 1 :]]
        yield "item", ast.Set(rest) if isinstance(node, ast.Set) else type(node)(rest, ast.Load())


def _expression(node: ast.Expr, _place: Place) -> Iterator[Change]:
    # Mostly calls that return nothing: a check that is made somewhere else.
    yield "no check" if isinstance(node.value, ast.Call) else "delete", ast.Pass()


def _raise(_node: ast.Raise, _place: Place) -> Iterator[Change]:
    yield "no check", ast.Pass()


def _return(node: ast.Return, _place: Place) -> Iterator[Change]:
    if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
        yield "return", ast.Return(ast.Constant(None))


def _if(node: ast.If, _place: Place) -> Iterator[Change]:
    if isinstance(node.test, ast.Compare):
        return  # its own changes are these
    yield "true", ast.If(ast.Constant(True), node.body, node.orelse)
    yield "false", ast.If(ast.Constant(False), node.body, node.orelse)


def _loop(_node: ast.For | ast.While, _place: Place) -> Iterator[Change]:
    yield "delete", ast.Pass()


def _jump(node: ast.Continue | ast.Break, _place: Place) -> Iterator[Change]:
    yield "jump", ast.Break() if isinstance(node, ast.Continue) else ast.Continue()


def _assignment(node: ast.Assign | ast.AugAssign, _place: Place) -> Iterator[Change]:
    # To delete the only assignment of a name is noticed by everything.
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if isinstance(node, ast.AugAssign) or not all(isinstance(t, (ast.Name, ast.Tuple)) for t in targets):
        yield "delete", ast.Pass()


def _with(node: ast.With, _place: Place) -> Iterator[Change]:
    yield "delete", ast.If(ast.Constant(True), node.body, [])


def _try(node: ast.Try, _place: Place) -> Iterator[Change]:
    for k in range(len(node.handlers)):
        rest = [*node.handlers[:k], *node.handlers[k + 1 :]]
        if rest or node.finalbody:
            yield "handler", ast.Try(node.body, rest, node.orelse, node.finalbody)
        else:
            yield "handler", ast.If(ast.Constant(True), [*node.body, *node.orelse], [])
    if node.finalbody:
        inner = ast.Try(node.body, node.handlers, node.orelse, []) if node.handlers else None
        yield "delete", inner or ast.If(ast.Constant(True), node.body, [])


_OPERATORS: Final[list[tuple[Any, Callable[[Any, Place], Iterator[Change]]]]] = [
    (ast.Constant, _constant),
    (ast.Compare, _compare),
    (ast.BoolOp, _boolean),
    (ast.UnaryOp, _unary),
    (ast.BinOp, _binary),
    (ast.Call, _call),
    (ast.Slice, _slice),
    (ast.IfExp, _choice),
    (ast.comprehension, _comprehension),
    ((ast.List, ast.Tuple, ast.Set), _starred),
    (ast.Expr, _expression),
    (ast.Raise, _raise),
    (ast.Return, _return),
    (ast.If, _if),
    ((ast.For, ast.While), _loop),
    ((ast.Continue, ast.Break), _jump),
    ((ast.Assign, ast.AugAssign), _assignment),
    (ast.With, _with),
    (ast.Try, _try),
]
