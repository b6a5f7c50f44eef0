"""`reconciler platform`: the simulated platform as a process."""

import json
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NoReturn

import typer

from worker.simulator import options
from worker.simulator.answers import AnswerStyle, KeyCase, Shape, UnknownAnswer
from worker.simulator.callbacks import CallbackSink, celery_sink, http_sink
from worker.simulator.config import Account, SimulatorConfig, accounts_from_environment, parse_account
from worker.simulator.draws import Delay
from worker.simulator.faults import Faults
from worker.simulator.server import Simulator


def platform(
    host: options.Host = "127.0.0.1",
    port: options.Port = 8100,
    accounts: options.Accounts = None,
    version: options.ApiVersion = "201512",
    seed: options.Seed = 1,
    record_path: options.RecordFile = None,
    as_json: options.AsJson = False,
    window_seconds: options.Window = 60.0,
    queries_per_window: options.QueriesPerWindow = 1,
    adopt: options.Adopt = True,
    delay: options.SettleDelay = "lognormal:10,0.8",
    failed_share: options.FailedShare = 0.05,
    stuck_share: options.StuckShare = 0.0,
    shape: options.AnswerShape = Shape.AUTO,
    list_key: options.ListKey = "list",
    ok_status: options.OkStatus = None,
    echo_custom_parm: options.EchoCustomParm = True,
    key_case: options.Keys = KeyCase.SAMPLE,
    numbers: options.Numbers = False,
    shuffle: options.Shuffle = True,
    unknown: options.Unknown = UnknownAnswer.ABSENT,
    shares: options.FaultShares = None,
    latency: options.Latency = "fixed:0",
    retry_after: options.RetryAfter = None,
    refuse_code: options.RefuseCode = "-9999",
    refuse_message: options.RefuseMessage = "系统错误",
    absent_ids: options.AbsentIds = None,
    poison_ids: options.PoisonIds = None,
    poison_effect: options.PoisonEffect = "refuse",
    callback_url: options.CallbackUrl = None,
    callback_broker: options.CallbackBroker = None,
    callback_delay: options.CallbackDelay = "fixed:0",
    lost_share: options.LostCallbacks = 0.0,
) -> None:
    """Run a simulated platform: the documented order query, a truth of its own, and a record of every arrival.

    It serves POST /VERSION/sid/SID/traffic/Traffic.wx; for people and tests also GET /simulator/record and
    /simulator/truth, and POST /simulator/orders, /simulator/faults and /simulator/answers. SIGTERM or Ctrl-C ends it.
    """
    # Each parameter has the name of the field that it fills; a test holds that.
    given = dict(locals())
    try:
        simulator = Simulator(_config(given), on_callback=_sink(callback_url, callback_broker))
    except (ValueError, OSError) as error:
        _leave(str(error), status=2)
    _serve(simulator, as_json=as_json)


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


def _accounts(given: Sequence[str] | None) -> tuple[Account, ...]:
    return tuple(map(parse_account, given)) if given else accounts_from_environment(options.read_environment())


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
