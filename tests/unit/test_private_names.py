"""Private names of a library in one module only: this finds what ruff's SLF001 does not see.

SLF001 finds `library._name`. It ignores `self._name` and `super()._name`, over methods that override a library's
private one, over `getattr(library, "_name")`, and over imports.
"""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import worker

ALLOWED = {
    # A bound on what redis-py reads from Redis at once: it reads through this attribute of its parser.
    ("worker.broker.library_internals", "_buffer"),
}
_BY_NAME = {"getattr", "setattr", "hasattr", "delattr", "attrgetter", "methodcaller"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


@cache
def modules() -> tuple[ModuleType, ...]:
    found = pkgutil.walk_packages(worker.__path__, "worker.")
    names = [module.name for module in found if not module.name.endswith("__main__")]
    assert "worker.broker.library_internals" in names
    return tuple(importlib.import_module(name) for name in names)


def tree_of(module: ModuleType) -> ast.Module:
    assert module.__file__ is not None
    return ast.parse(Path(module.__file__).read_text("utf-8"))


def classes() -> Iterator[type]:
    for module in modules():
        for value in vars(module).values():
            if inspect.isclass(value) and value.__module__ == module.__name__:
                yield value


def of_libraries(kind: type) -> list[type]:
    return [base for base in kind.__mro__ if not base.__module__.startswith("worker") and base is not object]


def written_in(kind: type) -> set[str]:
    """The attributes that the code of a class, and of those of ours that it is made from, sets or defines."""
    return {
        name
        for base in kind.__mro__
        if base.__module__.startswith("worker")
        for name in (*vars(base), *getattr(base, "__slots__", ()), *_set_on_self(base))
    }


def _set_on_self(kind: type) -> Iterator[str]:
    for node in ast.walk(_class_tree(kind)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


@cache
def _class_tree(kind: type) -> ast.AST:
    module = inspect.getmodule(kind)
    assert module is not None
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
            return node
    # A class made by a call, such as a named tuple or an enum, has no code of its own.
    return ast.Module(body=[], type_ignores=[])


def names_used(node: ast.AST) -> Iterator[str]:
    """The names that are read of `self`, `cls` or `super()`."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute):
            owner = inner.value
            is_super = isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "super"
            if is_super or (isinstance(owner, ast.Name) and owner.id in ("self", "cls")):
                yield inner.attr


def test_no_class_overrides_a_private_method_of_a_library() -> None:
    overridden = {
        (kind.__module__, f"{kind.__qualname__}.{name}")
        for kind in classes()
        for base in of_libraries(kind)
        for name in defined_in(_class_tree(kind)) & vars(base).keys()
        if is_private(name)
    }
    assert not overridden


def test_no_class_calls_a_private_method_that_it_inherits_from_a_library() -> None:
    used = {
        (kind.__module__, name)
        for kind in classes()
        if of_libraries(kind)
        for name in set(names_used(_class_tree(kind))) - written_in(kind)
        if is_private(name)
    }
    assert used <= ALLOWED


def test_no_private_name_is_reached_by_text() -> None:
    """Nor set on a library from outside: `library._name = ...` is SLF001's."""
    reached = {
        (module.__name__, argument.value)
        for module in modules()
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in _BY_NAME
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and is_private(argument.value)
    }
    assert reached <= ALLOWED


def test_no_private_name_of_a_library_is_imported() -> None:
    imported = {
        (module.__name__, str(node.module), name.name)
        for module in modules()
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.ImportFrom) and not str(node.module).startswith("worker")
        for name in node.names
        # The types of Python's own sockets, for the type checker alone.
        if (is_private(name.name) or any(map(is_private, str(node.module).split(".")))) and node.module != "_typeshed"
    }
    assert not imported


def test_classes_within_functions_follow_the_same_rules() -> None:
    """They are made when the function runs. Only those of their bases are known that the module names."""
    used, overridden = set(), set()
    for module in modules():
        functions = (node for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef))
        for kind in (node for function in functions for node in function.body if isinstance(node, ast.ClassDef)):
            defined = set(filter(is_private, defined_in(kind)))
            stored = {one.attr for one in ast.walk(kind) if isinstance(one, ast.Attribute) and is_stored(one)}
            used |= {(module.__name__, name) for name in set(names_used(kind)) - stored - defined if is_private(name)}
            bases = [getattr(module, ast.unparse(base), None) for base in kind.bases]
            is_known = all(inspect.isclass(base) for base in bases)
            theirs = {name for base in bases if inspect.isclass(base) for name in dir(base)}
            overridden |= {(module.__name__, name) for name in defined if not is_known or name in theirs}
    assert used <= ALLOWED
    assert not overridden


def defined_in(kind: ast.AST) -> set[str]:
    """The methods and attributes that a class's own body defines."""
    names = set()
    for node in getattr(kind, "body", ()):
        match node:
            case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def is_stored(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store)


def test_every_exception_is_needed() -> None:
    source = Path(str(importlib.import_module("worker.broker.library_internals").__file__)).read_text("utf-8")
    assert {name for _, name in ALLOWED if name in source} == {name for _, name in ALLOWED}
