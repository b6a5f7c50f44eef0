"""`reconciler platform`: the simulated platform as a process.

Accounts, limit and version that are not given are those of the worker's settings, so that both can share one `.env`.
"""

import json
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from inspect import Parameter, Signature
from typing import Any, NoReturn, get_origin, get_type_hints

import typer
from typer import Option

from worker.settings import Settings, SettingsError, load_settings
from worker.simulator.callbacks import http_sink
from worker.simulator.config import Account, SimulatorConfig, parse_account
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay
from worker.simulator.server import Simulator

_ACCOUNT_HELP = """An account to serve; may be repeated; by default those of the worker. Others can see a process's
arguments: better set RECONCILER_ACCOUNT_SID, RECONCILER_AUTH_TOKEN and RECONCILER_APP_ID, or RECONCILER_ACCOUNTS_FILE,
in the environment or in .env."""
_DELAY_HELP = """Seconds from an order's placing to its settling: fixed:S, uniform:LEAST,MOST
or lognormal:MEDIAN,SIGMA."""
_URL_HELP = """Push each callback to this URL, as a POST of JSON; `reconciler callback-url` prints the path."""


_OF_THE_WORKER = {
    "version": "platform_version",
    "window_seconds": "query_window_seconds",
    "queries_per_window": "queries_per_window",
}
"""The fields that are by default a setting of the worker."""

# The process that is started by hand has a port that is known, and adopts.
_DEFAULTS = (SimulatorConfig(accounts=(), port=8100, adopt=True), Faults())
_FIELDS: dict[str, tuple[Any, Any]] = {
    **{
        one.name: (get_type_hints(type(config))[one.name], getattr(config, one.name))
        for config in _DEFAULTS
        for one in fields(config)
    },
    # No fields, but the command's own.
    **{"as_json": (bool, False), "callback_url": (str | None, None)},
}


def _option(name: str, *declared: str, panel: str | None = None, **more: Any) -> Parameter:
    """The option that fills a field, with the field's type and default as a command line has them."""
    kind, default = _FIELDS[name]
    if name in _OF_THE_WORKER:
        kind, default = kind | None, None
        more["help"] += " By default the worker's."
    elif kind is Delay:
        kind, default = str, str(default)
    elif get_origin(kind) is tuple:
        kind, default = list[str] | None, None
    option = Option(default, *declared, rich_help_panel=panel, **more)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=option, annotation=kind)


_limit, _truth, _callbacks = (partial(_option, panel=panel) for panel in ("Limit", "Truth of orders", "Callbacks"))

_OPTIONS = (
    _option("host", help="Address to listen on. The control endpoint answers this machine only."),
    _option("port", help="Port to listen on; 0 takes any free one.", min=0, max=65535),
    _option("accounts", "--account", metavar="SID:TOKEN:APPID", help=_ACCOUNT_HELP),
    _option("version", "--api-version", help="Version in the path.", envvar="RECONCILER_PLATFORM_VERSION"),
    _option("seed", help="Everything random is drawn from it."),
    _option("record_path", "--record", help="Append every arrival to this file, as JSON Lines.", dir_okay=False),
    _option("as_json", "--json", help="Print that it is ready as one JSON object."),
    _limit("window_seconds", "--window", help="Seconds; the limit's window.", envvar="RECONCILER_QUERY_WINDOW_SECONDS"),
    _limit(
        "queries_per_window",
        help="Queries of one account SID in one window.",
        envvar="RECONCILER_QUERIES_PER_WINDOW",
        min=1,
    ),
    _truth("adopt", help="Take unknown ids for orders placed at that moment."),
    _truth("delay", help=_DELAY_HELP),
    _truth("failed_share", help="Share of orders that fail, 0 to 1."),
    _truth("stuck_share", help="Share of orders that never settle."),
    _option("latency", help="Seconds before an answer: as --delay, or alternate:A,B."),
    # By a variable as well: the path of `reconciler serve` holds a token, and others can see a process's arguments.
    _callbacks("callback_url", help=_URL_HELP, envvar="RECONCILER_SIMULATOR_CALLBACK_URL"),
    _callbacks("callback_tries", help="Pushes of a callback until it is accepted.", min=1),
    _callbacks("callback_delay", help="Seconds from settling to callback, as --delay."),
    _callbacks("lost_share", "--lost-callbacks", help="Share of callbacks that are lost."),
)


def platform(**given: Any) -> None:
    """Run a simulated platform: the documented order query, a truth of its own, and a record of every arrival.

    It serves POST /VERSION/sid/SID/traffic/Traffic.wx; for people and tests also GET /simulator/record and
    /simulator/truth, and POST /simulator/orders and /simulator/faults. SIGTERM or Ctrl-C ends it.

    Examples:
      reconciler platform
      reconciler platform --window 2 --lost-callbacks 0.5 --json
    """
    try:
        config = _config(given, load_settings())
        url = given["callback_url"]
        simulator = Simulator(config, on_callback=http_sink(url) if url else None)
    except (ValueError, OSError, SettingsError) as error:
        _leave(str(error), status=2)
    _serve(simulator, as_json=given["as_json"])


platform.__signature__ = Signature(_OPTIONS)  # type: ignore[attr-defined]  # Typer reads the options from it


def _config(given: Mapping[str, Any], settings: Settings) -> SimulatorConfig:
    """What the options name. Raises ValueError for one that cannot be used, and SettingsError without an account."""
    read = {
        "accounts": tuple(map(parse_account, given["accounts"] or ())) or _accounts_of(settings),
        **{name: Delay.parse(given[name]) for name in ("delay", "latency", "callback_delay")},
        **{name: getattr(settings, own) for name, own in _OF_THE_WORKER.items() if given[name] is None},
    }
    values = {**given, **read}
    values["faults"] = Faults(latency=values["latency"])
    return SimulatorConfig(**{one.name: values[one.name] for one in fields(SimulatorConfig) if one.name in values})


def _accounts_of(settings: Settings) -> tuple[Account, ...]:
    known = settings.require_accounts().values()
    return tuple(Account(sid=one.account_sid, auth_token=one.auth_token, app_id=one.app_id) for one in known)


def _serve(simulator: Simulator, *, as_json: bool) -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: ended.set())
    try:
        simulator.start()
    except OSError as error:
        simulator.stop()
        _leave(f"cannot listen: {error.strerror}; choose another --host or --port", status=1)
    process = os.getpid()
    ready = f"The simulated platform serves {simulator.url} (process {process})."
    typer.echo(json.dumps({"url": simulator.url, "pid": process}) if as_json else ready)
    ended.wait()
    simulator.stop()


def _leave(message: str, *, status: int) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(status)
