"""`reconciler platform`: the simulated platform as a process.

Options that are not given are read from the environment and from `.env` in the working directory, as the worker reads
its settings, so that both can share one `.env`: the environment wins over the file, an empty value counts as not set,
and a name may be written in either case.
"""

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from inspect import Parameter, Signature
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, get_origin, get_type_hints

import typer
from typer import Option
from typer.core import TyperCommand

from worker.simulator.answers import AnswerStyle
from worker.simulator.callbacks import CallbackSink, celery_sink, http_sink
from worker.simulator.config import Account, SimulatorConfig, accounts_from_environment, parse_account
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay
from worker.simulator.server import Simulator

_ACCOUNT_HELP = """An account to serve; may be repeated. Others can see a process's arguments: better set
RECONCILER_ACCOUNT_SID, RECONCILER_AUTH_TOKEN and RECONCILER_APP_ID, or RECONCILER_ACCOUNTS_FILE, which are read where
this is not given, from .env too."""
_DELAY_HELP = """Seconds from an order's placing to its settling: fixed:S, uniform:LEAST,MOST, exponential:MEAN,
lognormal:MEDIAN,SIGMA or bimodal:FAST,SLOW,SLOW_SHARE."""
_FAULT_HELP = """May be repeated. Of answers: http-NNN, garbage-KIND, refuse, reset, reset-midway, silent, drip-headers,
drip-body. Of items: absent, duplicate, conflict, foreign, wrong-appid, wrong-mobile, wrong-amount, wrong-custom-parm,
unknown-status, colliding-keys, denied."""
_URL_HELP = """Push each callback to this URL, as a POST of JSON; `reconciler callback-url` prints the path."""
_BROKER_HELP = """Push callbacks as Celery tasks through this broker: reconciler.record_callbacks on the queue
reconciler.orders."""

_ENV_FILE = Path(".env")


def _fields() -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The name, the type and the default of each field of the platform's settings."""
    for kind in (SimulatorConfig, AnswerStyle, Faults):
        hints = get_type_hints(kind)
        for one in fields(kind):
            default = one.default if one.default_factory is MISSING else one.default_factory()
            yield one.name, (hints[one.name], default)


_FIELDS: dict[str, tuple[Any, Any]] = {
    **dict(_fields()),
    # No fields, but the command's own. The process that is started by hand has a port that is known, and adopts.
    **{"as_json": (bool, False), "callback_url": (str | None, None), "callback_broker": (str | None, None)},
    **{"port": (int, 8100), "adopt": (bool, True)},
}


def _option(name: str, *declared: str, panel: str | None = None, **more: Any) -> Parameter:
    """The option that fills a field, with the field's type and default as a command line has them."""
    kind, default = _FIELDS[name]
    if kind is Delay:
        kind, default = str, str(default)
    elif get_origin(kind) is not None and get_origin(kind) is not UnionType:
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
        simulator = Simulator(_config(given), on_callback=_sink(given["callback_url"], given["callback_broker"]))
    except (ValueError, OSError) as error:
        _leave(str(error), status=2)
    _serve(simulator, as_json=given["as_json"])


platform.__signature__ = Signature(_OPTIONS)  # type: ignore[attr-defined]  # Typer reads the options from it


def _config(given: Mapping[str, Any]) -> SimulatorConfig:
    """The settings that the options name. Raises ValueError for one that cannot be used."""
    read = {
        "accounts": _accounts(given["accounts"]),
        "shares": _shares(given["shares"] or ()),
        **{name: Delay.parse(given[name]) for name in ("delay", "latency", "callback_delay")},
        **{name: frozenset(given[name] or ()) for name in ("absent_ids", "poison_ids")},
    }
    values = {**given, **read}
    values |= {"answers": _filled(AnswerStyle, values), "faults": _filled(Faults, values)}
    config: SimulatorConfig = _filled(SimulatorConfig, values)
    return config


def _filled(kind: type[Any], values: Mapping[str, Any]) -> Any:
    return kind(**{one.name: values[one.name] for one in fields(kind) if one.name in values})


def _read_environment() -> Mapping[str, str]:
    """Every variable that has a value, by its name in upper case. Raises ValueError where `.env` cannot be read."""
    # Here, since it is slow to load, and `reconciler --help` does not need it.
    from pydantic_settings import BaseSettings, DotEnvSettingsSource

    try:
        in_file = DotEnvSettingsSource(BaseSettings, env_file=_ENV_FILE).env_vars
    except (OSError, UnicodeDecodeError) as error:
        why = f"{_ENV_FILE} cannot be read ({type(error).__name__}); accepted: UTF-8 text, one NAME=value a line"
        raise ValueError(why) from None
    named = [*in_file.items(), *os.environ.items()]
    return {name.upper(): value for name, value in named if value}


class EnvironmentCommand(TyperCommand):
    """A command whose options with a variable are read from `.env` as well."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; an option that is not given is read from the environment or `.env`, or has its default.

        An `.env` that cannot be read is left to the command itself to report.
        """
        try:
            known = _read_environment()
        except ValueError:
            known = {}
        variables = {option.name: option.envvar for option in self.params if isinstance(option.envvar, str)}
        ctx.default_map = {name: known[variable] for name, variable in variables.items() if name and variable in known}
        return super().parse_args(ctx, args)


def _accounts(given: Sequence[str] | None) -> tuple[Account, ...]:
    return tuple(map(parse_account, given)) if given else accounts_from_environment(_read_environment())


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
