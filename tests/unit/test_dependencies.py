"""Whatever the code imports is declared: nothing depends on what only the development packages install."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import worker
from tests.support.command_line import environment
from tests.support.missing import without

ROOT = Path(worker.__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# Types alone: nothing imports it when the code runs.
STUBS = {"_typeshed"}

# Also what libraries load only when a URL asks for it. The URLs are those that the settings accept.
LOAD_EVERYTHING = """
import importlib, pkgutil, warnings
import sqlalchemy, worker
from celery import Celery
from kombu import Connection
for module in pkgutil.walk_packages(worker.__path__, "worker."):
    importlib.import_module(module.name)
for url in ("redis://h/0", "rediss://h/0", "redis+socket:///s", "amqp://h//", "amqps://h//"):
    Connection(url).transport
for url in ("redis://h/0", "rediss://h/0?ssl_cert_reqs=required", "redis+socket:///s", "rpc://"):
    Celery(broker="amqp://h//", backend=url, set_as_current=False).backend
for url in ("postgresql+psycopg://h/d", "mysql+pymysql://h/d", "mariadb+pymysql://h/d", "sqlite:///f"):
    sqlalchemy.create_engine(url)
"""


def declared() -> list[Requirement]:
    """What the project requires when it runs, with its extras."""
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    return [Requirement(text) for texts in (PROJECT["dependencies"], *extras.values()) for text in texts]


def names(requirements: Iterable[Requirement]) -> set[str]:
    return {canonicalize_name(one.name) for one in requirements}


@cache
def required_by(distribution: str, *extras: str) -> frozenset[Requirement]:
    """What an installed distribution requires here, with these extras."""
    environments = [{"extra": extra} for extra in extras or ("",)]
    texts = requires(distribution) or []
    return frozenset(
        one
        for one in map(Requirement, texts)
        if one.marker is None or any(one.marker.evaluate(each) for each in environments)
    )


def installed_with(requirements: Iterable[Requirement]) -> set[str]:
    """Every distribution that an installation of these includes."""
    waiting, found = list(requirements), set()
    while waiting:
        one = waiting.pop()
        if (key := (canonicalize_name(one.name), *sorted(one.extras))) not in found:
            found.add(key)
            waiting.extend(required_by(*key))
    return {name for name, *_ in found}


def imported(file: Path) -> Iterator[str]:
    """The top-level modules that a file imports from elsewhere, at its top or within its functions."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0]


@cache
def owners_of_modules() -> Mapping[str, list[str]]:
    """The distributions of each top-level module; to list them takes most of a second."""
    return packages_distributions()


def foreign(file: Path) -> Iterator[tuple[str, set[str]]]:
    """Each such module that is not the standard library's, and the distributions that it may belong to."""
    owners = owners_of_modules()
    for module in set(imported(file)) - sys.stdlib_module_names - STUBS - {"worker"}:
        yield module, {canonicalize_name(owner) for owner in owners.get(module, ())}


@pytest.mark.parametrize("folder", ["worker", "migrations"])
def test_whatever_the_code_imports_is_declared(folder: str) -> None:
    allowed = names(declared())
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    undeclared = {(file.name, module) for file in files for module, owners in foreign(file) if not owners & allowed}
    assert not undeclared


def test_everything_loads_where_nothing_but_the_declared_is_installed() -> None:
    there = installed_with(declared())
    # It measures this program, too, where the tests' coverage is measured.
    there.add("coverage")
    missing = {
        module
        for module, owners in owners_of_modules().items()
        if module != "worker" and not there & {canonicalize_name(owner) for owner in owners}
    }
    assert "pytest" in missing
    done = subprocess.run(
        without(missing, LOAD_EVERYTHING), env=environment({}), capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("file", "extras"), [("runtime.txt", ()), ("web.txt", ("web",))])
def test_the_lock_holds_exactly_what_the_declared_install(file: str, extras: tuple[str, ...]) -> None:
    lines = (ROOT / "requirements" / file).read_text("utf-8").splitlines()
    pins = [Requirement(line.removesuffix("\\")) for line in lines if line[:1].isalnum()]
    here = names(one for one in pins if one.marker is None or one.marker.evaluate())
    wanted = [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]
    needed = installed_with(map(Requirement, wanted))
    assert here == needed


def test_every_declared_dependency_has_its_reason_in_the_documents() -> None:
    rows = re.findall(r"^\| (.*?) \|", (ROOT / "docs" / "dependencies.md").read_text("utf-8"), re.MULTILINE)
    explained = {canonicalize_name(re.split(r"[\[ ]", name)[0]) for row in rows for name in row.split(", ")}
    assert names(declared()) <= explained
