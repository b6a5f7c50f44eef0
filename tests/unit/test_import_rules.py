"""What import-linter cannot say: what the domain imports, and who saves orders."""

import ast
from pathlib import Path

import worker.domain
from tests.unit.test_dependencies import foreign

DOMAIN = Path(worker.domain.__file__).parent


def test_the_domain_imports_the_standard_library_and_itself_only() -> None:
    # What it imports of the worker, import-linter says.
    assert not {(module.name, name) for module in DOMAIN.rglob("*.py") for name, _ in foreign(module)}


def test_one_operation_alone_saves_changes_of_orders() -> None:
    # It writes the notifications as well: a second place would forget them.
    users = {
        module.stem
        for module in DOMAIN.parent.rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and any(name.name == "save_changes" for name in node.names)
    }
    assert users == {"save_orders"}


def test_no_view_locks_or_writes() -> None:
    writing = {"with_for_update", "insert", "update", "delete", "insert_rows", "write"}
    mapping = {"choose_due", "to_order", "to_notification", "ORDER_COLUMNS", "NOTIFICATION_COLUMNS"}
    for module in (DOMAIN.parent / "views").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    # Sets have a method of this name.
                    assert name not in writing - {"update"}, f"{module.name}: {name}"
                case ast.ImportFrom(module=str(source), names=names):
                    given = {name.name for name in names}
                    assert not given & writing, f"{module.name}: {given}"
                    if source.startswith(("worker.stores", "worker.operations")):
                        others = {name for name in given - mapping if not name.startswith("read_")}
                        assert not others, f"{module.name}: {others}"
