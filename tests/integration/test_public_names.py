"""No name that others depend on is lost: tests/vectors/public_names.json holds those that were there.

The file may gain names, by `RECONCILER_TEST_PUBLIC_NAMES=add`; it loses none.
"""

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import SecretStr
from sqlalchemy import Dialect, Enum
from sqlalchemy.dialects import postgresql
from typer.main import get_command

from tests.support.back_office import fill
from tests.support.command_line import CommandLine, environment, settings_of_account
from tests.support.logged_actions import logged_actions
from tests.support.reconciling import SID, Workbench
from tests.support.settled_orders import add_newest, add_settled
from tests.support.ticking import let_a_worker_tick
from tests.support.visitors import write_users
from worker.cli.app import app
from worker.cli.declare import add
from worker.database.tables import METADATA
from worker.demo.command import demo
from worker.domain.records.operators import Part
from worker.domain.records.orders import OrderState
from worker.settings import PREFIX, VARIABLES, Settings
from worker.web.app import WebProcess
from worker.web.metric_catalogue import CATALOGUE

FILE = Path(__file__).parents[1] / "vectors" / "public_names.json"
WHAT_TO_DO = (
    "others depend on these names: each works for one more release beside its successor, with a warning and a line in"
    " CHANGELOG.md. Only then it leaves tests/vectors/public_names.json"
)
TASKS = """
import json, types, worker.tasks as tasks
class Intake:
    def __getattr__(self, name): return lambda given, **_: given
tasks.current = lambda: types.SimpleNamespace(intake=Intake(), ticks=types.SimpleNamespace(request=lambda: None))
named = {name: task for name, task in tasks.app.tasks.items() if name.startswith("reconciler.")}
arguments = [(name, one) for name in named for one in ("order", "orders", "callbacks")]
taken = [f"{name}({one})" for name, one in arguments if "args" not in str(named[name].run(**{one: "?"}) or "args")]
print(json.dumps([*named, *taken]))
"""
COMMANDS = """
acts --json | acts --csv | callback-url shop
compare statement.csv --json | compare statement.csv --csv | compare statement.csv --by settled --json | doctor --json
enqueue orders.csv --json | health --json | limit --window 60 --json | migrate --json | migrate --to 9999 --yes
notify-test --json | nosuch | notifications --json | notifications --csv | order {attention} --json
order {unresolved} --json | order nosuch | order {settled} --json | order {pending} --json
orders --json | orders --csv | orders --summary --json | orders --summary --csv | orders --account nosuch
orders --json --csv | queries --json | queries --csv | query {query} --json
query 99999 | rejected --json | rejected --csv | rejected {rejected} --json | rejected {rejected} --csv
rejected --retry {rejected} --json | report --json | report --csv | report --by account --json | report --by day --csv
status --json | status --check --json | todo --json | todo --csv | unmatched --json | unmatched --csv
user list --json | dismiss {attention} --dry-run --json | dismiss {attention} --json | dismiss {settled} --json
check {pending} --json | check nosuch --json | cancel {pending} --json | cancel nosuch --json
resolve {late} --state succeeded --amount 2.94 --reason x --json | resolve {late} --state failed --reason x --json
reopen {unresolved} --reason x --json | reopen {settled} --reason x --json | resend {settled} --json
pause default --for 1h --reason x --json | resume default --json | resume default --json | hold --json
notifications pause default --json | notifications resume default --json
notifications forget default --yes --json | archive --settled-before 1h --yes --json
purge --orders 90d --yes --json | purge --older-than 400d --yes --json
user remove nosuch | explain answer.json --ids 1,2 --json
poll {pending} --dry-run --json
"""
OTHER_OUTPUT = "--by|--check|--retry|--summary"


def columns() -> Iterator[str]:
    dialect: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it
    for column in (column for table in METADATA.sorted_tables for column in table.columns):
        kind = column.type.compile(dialect)
        yield f"{column.table.name}.{column.name} {kind}{' or null' if column.nullable else ''}"


def stored_words() -> Iterator[str]:
    for column in (column for table in METADATA.sorted_tables for column in table.columns):
        if isinstance(column.type, Enum):
            yield from (f"{column.table.name}.{column.name} = {word}" for word in column.type.enums)


def tasks() -> Iterable[str]:
    run = [sys.executable, "-c", TASKS]
    printed = subprocess.run(run, env=environment({}), capture_output=True, text=True, check=True).stdout
    names: list[str] = json.loads(printed)
    return names


def settings() -> Iterator[str]:
    yield from VARIABLES
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = default.get_secret_value() if isinstance(default, SecretStr) else default
        yield f"{PREFIX}{name.upper()} = {shown}"


def options() -> Iterator[str]:
    alone = typer.Typer(add_completion=False)
    add(alone, demo, "demo")
    yield from parameters("demo", get_command(alone))
    yield from parameters("", get_command(app))


def parameters(path: str, command: Any) -> Iterator[str]:
    """A command's arguments and options, and those of the commands below it."""
    yield path or "reconciler"
    for one in command.params:
        kind = " flag" if getattr(one, "is_flag", False) else ""
        many = " repeated" if one.multiple or one.nargs != 1 else ""
        names = (
            one.opts + one.secondary_opts if one.param_type_name == "option" else [(one.metavar or one.name).upper()]
        )
        yield from (f"{path} {name}{kind}{many}".strip() for name in names)
        yield from (f"{path} {one.envvar}",) if one.envvar else ()
    below = command.list_commands(None) if hasattr(command, "list_commands") else ()
    for name in below:
        yield from parameters(f"{path} {name}".strip(), command.get_command(None, name))


def metrics() -> Iterator[str]:
    for metric in CATALOGUE:
        yield f"{metric.name}{{{', '.join(metric.labels)}}}"


def routes() -> Iterator[str]:
    process = WebProcess(settings_of_account("sqlite:///none.db"), frozenset(Part), console_key="key")
    for rule in process.app().url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?\w+>", "<>", rule.rule)
        yield from (f"{method} {path}" for method in (rule.methods or set()) - {"HEAD", "OPTIONS"})
    process.close()


def json_keys(value: object, path: str) -> Iterator[str]:
    """The path of each key."""
    if isinstance(value, list):
        for one in value:
            yield from json_keys(one, f"{path}[]")
    elif isinstance(value, dict):
        for key, held in value.items():
            yield f"{path}.{key}"
            yield from json_keys(held, f"{path}.{key}")


def require_kept(section: str, found: Iterable[str]) -> None:
    """Fail where a name of the file was not found."""
    stored: dict[str, list[str]] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    if os.environ.get("RECONCILER_TEST_PUBLIC_NAMES") == "add":
        stored[section] = sorted({*stored.get(section, ()), *found})
        FILE.write_text(json.dumps(stored, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
    lost = sorted(set(stored[section]) - set(found))
    assert not lost, f"{lost}: {WHAT_TO_DO}"


SECTIONS: tuple[Callable[[], Iterable[str]], ...] = (columns, stored_words, tasks, settings, options, metrics, routes)


@pytest.mark.parametrize("names", [*SECTIONS, logged_actions])
def test_no_name_is_lost(names: Callable[[], Iterable[str]]) -> None:
    require_kept(names.__name__, list(names()))


@pytest.fixture
def refs(bench: Workbench) -> dict[str, str]:
    """What the commands are about: an order of each kind."""
    found = fill(bench, hours=1)
    add_settled(bench, "settled", days_ago=0.5)
    add_newest(bench)
    let_a_worker_tick(bench)
    orders = {"settled": bench.order("r-settled").id}
    orders |= {"attention": found.amount_differs, "unresolved": found.unresolved, "pending": found.pending}
    unresolved = [order.id for order in bench.orders() if order.state is OrderState.UNRESOLVED]
    orders |= {"late": max(unresolved)}
    return {
        **{name: f"id:{number}" for name, number in orders.items()},
        "query": str(found.query),
        "rejected": str(found.rejected),
    }


@pytest.mark.databases("sqlite")
def test_no_key_column_or_exit_status_of_a_command_is_lost(bench: Workbench, refs: dict[str, str]) -> None:
    Path("orders.csv").write_text("request_id\nnew-1\n \u0001\n", "utf-8")
    Path("answer.json").write_text('{"requestId":"1","trafficSts":"1"}', "utf-8")
    Path("statement.csv").write_text("request_id,state,amount\nr-settled,成功,3.00\nnosuch,成功,1.00\n", "utf-8")
    named = {
        "DATABASE_URL": bench.url,
        "ACCOUNT_SID": SID,
        "AUTH_TOKEN": SID,
        "APP_ID": "app-1",
        "USERS_FILE": str(write_users(Path("users").absolute())),
        "NOTIFY_SECRET": f"whsec_{b64encode(bytes(32)).decode()}",
        "NOTIFY_URL": "http://127.0.0.1:9/",
        "BROKER_URL": "redis://127.0.0.1:9/0",
        "PLATFORM_URL": "http://127.0.0.1:9",
        # So the one tick is recent enough for ten minutes of commands.
        "TICK_SECONDS": "60",
    }
    cli = CommandLine({f"{PREFIX}{name}": value for name, value in named.items()})
    found: dict[str, set[str]] = {"json_keys": set(), "csv_columns": set(), "exit_statuses": set()}
    for command in COMMANDS.replace("\n", " | ").strip(" |").split(" | "):
        result = cli.run(*shlex.split(command.format(**refs)), status=None)
        found["exit_statuses"].add(f"{command}: {result.exit_code}")
        label = " ".join(
            [*re.findall(r"^(?:user|notifications) \w+|^[\w-]+", command), *re.findall(OTHER_OUTPUT, command)]
        )
        if "--json" in command and result.stdout:
            found["json_keys"].update(json_keys(json.loads(result.stdout), label))
        elif "--csv" in command and result.stdout:
            header = next(csv.reader(io.StringIO(result.stdout.removeprefix("\ufeff"))))
            found["csv_columns"].update(f"{label} {number}: {name}" for number, name in enumerate(header))
    for section, names in found.items():
        require_kept(section, names)
