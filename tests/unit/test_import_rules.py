"""What import-linter cannot say: what the domain imports, and who saves orders."""

import ast
from pathlib import Path

import worker.domain
from tests.unit.test_dependencies import foreign

DOMAIN = Path(worker.domain.__file__).parent
WORKER = DOMAIN.parent
WRITING = {"with_for_update", "insert", "update", "delete", "insert_rows", "write"}
# What the next query would hold, and rows as values, where operations change them.
MAPPING = {"choose_due", "to_order", "to_notification", "ORDER_COLUMNS", "NOTIFICATION_COLUMNS", "STATE_COLUMNS"}


def may_be_viewed(name: str) -> bool:
    return name in MAPPING or name.startswith("read_")


def test_the_domain_imports_the_standard_library_and_itself_only() -> None:
    # What it imports of the worker, import-linter says.
    assert not {(module.name, name) for module in DOMAIN.rglob("*.py") for name, _ in foreign(module)}


def test_one_operation_alone_saves_changes_of_orders() -> None:
    # It writes the notifications as well: a second place would forget them.
    users = {
        module.stem
        for module in WORKER.rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and any(name.name == "save_changes" for name in node.names)
    }
    assert users == {"save_orders"}


def test_no_view_locks_or_writes() -> None:
    for module in (WORKER / "views").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    # Sets have a method of this name.
                    assert name not in WRITING - {"update"}, f"{module.name}: {name}"
                case ast.ImportFrom(module=str(source), names=names):
                    given = {name.name for name in names}
                    assert not given & WRITING, f"{module.name}: {given}"
                    if source.startswith(("worker.stores", "worker.operations")):
                        others = {name for name in given if not may_be_viewed(name)}
                        assert not others, f"{module.name}: {others}"


def test_what_views_may_share_with_operations_neither_locks_nor_writes() -> None:
    modules = [*(WORKER / "stores").glob("*.py"), *(WORKER / "operations").glob("*.py")]
    for module in modules:
        for function in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and may_be_viewed(function.name):
                attributes = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
                called = attributes | {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
                wrong = {name for name in called if name in WRITING - {"update"} or name.startswith("lock")}
                assert not wrong, f"{module.name}: {function.name}: {wrong}"
