"""`reconciler platform`: the simulated platform as a process.

Accounts, limit and version that are not given are those of the worker's settings, so that both can share one `.env`.
"""

import json
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from inspect import Parameter, Signature
from typing import Any, NoReturn, get_origin, get_type_hints

import typer
from typer import Option

from worker.settings import Settings, SettingsError, load_settings
from worker.simulator.answers import AnswerStyle
from worker.simulator.callbacks import CallbackSink, celery_sink, http_sink
from worker.simulator.config import Account, SimulatorConfig, parse_account
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay
from worker.simulator.server import Simulator

_ACCOUNT_HELP = """An account to serve; may be repeated; by default those of the worker. Others can see a process's
arguments: better set RECONCILER_ACCOUNT_SID, RECONCILER_AUTH_TOKEN and RECONCILER_APP_ID, or RECONCILER_ACCOUNTS_FILE,
in the environment or in .env."""
_DELAY_HELP = """Seconds from an order's placing to its settling: fixed:S, uniform:LEAST,MOST, exponential:MEAN,
lognormal:MEDIAN,SIGMA or bimodal:FAST,SLOW,SLOW_SHARE."""
_FAULT_HELP = """May be repeated. Of answers: http-NNN, garbage-KIND, refuse, reset, reset-midway, silent, drip-headers,
drip-body. Of items: absent, duplicate, conflict, foreign, wrong-appid, wrong-mobile, wrong-amount, wrong-custom-parm,
unknown-status, colliding-keys, denied."""
_URL_HELP = """Push each callback to this URL, as a POST of JSON; `reconciler callback-url` prints the path."""
_BROKER_HELP = """Push callbacks as Celery tasks through this broker: reconciler.record_callbacks on the queue
reconciler.orders."""


_OF_THE_WORKER = {
    "version": "platform_version",
    "window_seconds": "query_window_seconds",
    "queries_per_window": "queries_per_window",
}
"""The fields that are by default a setting of the worker."""

# The process that is started by hand has a port that is known, and adopts.
_DEFAULTS = (SimulatorConfig(accounts=(), port=8100, adopt=True), AnswerStyle(), Faults())
_FIELDS: dict[str, tuple[Any, Any]] = {
    **{
        one.name: (get_type_hints(type(config))[one.name], getattr(config, one.name))
        for config in _DEFAULTS
        for one in fields(config)
    },
    # No fields, but the command's own.
    **{"as_json": (bool, False), "callback_url": (str | None, None), "callback_broker": (str | None, None)},
}


def _option(name: str, *declared: str, panel: str | None = None, **more: Any) -> Parameter:
    """The option that fills a field, with the field's type and default as a command line has them."""
    kind, default = _FIELDS[name]
    if name in _OF_THE_WORKER:
        kind, default = kind | None, None
        more["help"] += " By default the worker's."
    elif kind is Delay:
        kind, default = str, str(default)
    elif get_origin(kind) in (tuple, frozenset, Mapping):
        kind, default = list[str] | None, None
    option = Option(default, *declared, rich_help_panel=panel, **more)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=option, annotation=kind)


_limit, _truth, _answers, _faults, _callbacks = (
    partial(_option, panel=panel) for panel in ("Limit", "Truth of orders", "Answers", "Faults", "Callbacks")
)

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
    _answers("shape", help="auto: one object for one id, an array for several."),
    _answers("list_key", help="The list's key in object-list."),
    _answers("ok_status", help="statusCode beside the items of an object, as 000000."),
    _answers("echo_custom_parm", help="Whether items hold customParm."),
    _answers("key_case", help="How keys are spelled."),
    _answers("numbers", help="trafficSts and oriAmount as numbers."),
    _answers("shuffle", help="Items in random order."),
    _answers("unknown", help="The answer for orders that the platform does not know."),
    _faults("shares", "--fault", metavar="NAME=SHARE", help=_FAULT_HELP),
    _faults("latency", help="Seconds before an answer: as --delay, or alternate:A,B."),
    _faults("retry_after", help="Seconds; Retry-After of HTTP errors."),
    _faults("refuse_code", help="statusCode of the fault refuse."),
    _faults("refuse_message", help="statusMsg of the fault refuse."),
    _faults("absent_ids", "--absent-id", help="An id that no answer holds; may be repeated."),
    _faults("poison_ids", "--poison-id", help="An id that spoils every batch it is in; may be repeated."),
    _faults("poison_effect", help="The fault of such a batch."),
    # By a variable as well: the path of `reconciler serve` holds a token, the URL of a broker may hold a password, and
    # others can see a process's arguments.
    _callbacks("callback_url", help=_URL_HELP, envvar="RECONCILER_SIMULATOR_CALLBACK_URL"),
    _callbacks("callback_tries", help="Pushes of a callback until it is accepted.", min=1),
    _callbacks("callback_broker", help=_BROKER_HELP, envvar="RECONCILER_SIMULATOR_CALLBACK_BROKER"),
    _callbacks("callback_delay", help="Seconds from settling to callback, as --delay."),
    _callbacks("lost_share", "--lost-callbacks", help="Share of callbacks that are lost."),
)


def platform(**given: Any) -> None:
    """Run a simulated platform: the documented order query, a truth of its own, and a record of every arrival.

    It serves POST /VERSION/sid/SID/traffic/Traffic.wx; for people and tests also GET /simulator/record and
    /simulator/truth, and POST /simulator/orders, /simulator/faults and /simulator/answers. SIGTERM or Ctrl-C ends it.

    Examples:
      reconciler platform
      reconciler platform --window 2 --lost-callbacks 0.5 --json
    """
    try:
        config = _config(given, load_settings())
        simulator = Simulator(config, on_callback=_sink(given["callback_url"], given["callback_broker"]))
    except (ValueError, OSError, SettingsError) as error:
        _leave(str(error), status=2)
    _serve(simulator, as_json=given["as_json"])


platform.__signature__ = Signature(_OPTIONS)  # type: ignore[attr-defined]  # Typer reads the options from it


def _config(given: Mapping[str, Any], settings: Settings) -> SimulatorConfig:
    """What the options name. Raises ValueError for one that cannot be used, and SettingsError without an account."""
    read = {
        "accounts": tuple(map(parse_account, given["accounts"] or ())) or _accounts_of(settings),
        "shares": _shares(given["shares"] or ()),
        **{name: Delay.parse(given[name]) for name in ("delay", "latency", "callback_delay")},
        **{name: frozenset(given[name] or ()) for name in ("absent_ids", "poison_ids")},
        **{name: getattr(settings, own) for name, own in _OF_THE_WORKER.items() if given[name] is None},
    }
    values = {**given, **read}
    values |= {"answers": _filled(AnswerStyle, values), "faults": _filled(Faults, values)}
    config: SimulatorConfig = _filled(SimulatorConfig, values)
    return config


def _filled(kind: type[Any], values: Mapping[str, Any]) -> Any:
    return kind(**{one.name: values[one.name] for one in fields(kind) if one.name in values})


def _accounts_of(settings: Settings) -> tuple[Account, ...]:
    known = settings.require_accounts().values()
    return tuple(Account(sid=one.account_sid, auth_token=one.auth_token, app_id=one.app_id) for one in known)


def _shares(given: Sequence[str]) -> dict[str, float]:
    shares = {}
    for one in given:
        name, _, share = one.partition("=")
        try:
            shares[name] = float(share or 1)
        except ValueError as error:
            raise ValueError(f"--fault {one}: expected NAME=SHARE, the share from 0 to 1") from error
    return shares


def _sink(url: str | None, broker: str | None) -> CallbackSink | None:
    if url and broker:
        raise ValueError("give --callback-url or --callback-broker, not both")
    if url:
        return http_sink(url)
    return celery_sink(broker) if broker else None


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
