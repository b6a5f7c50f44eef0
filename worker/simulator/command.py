"""`reconciler platform`: the simulated platform as a process."""

import json
import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

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
    account: options.Accounts = None,
    api_version: options.ApiVersion = "201512",
    seed: options.Seed = 1,
    record: options.RecordFile = None,
    as_json: options.AsJson = False,
    window: options.Window = 60.0,
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
    fault: options.FaultShares = None,
    latency: options.Latency = "fixed:0",
    retry_after: options.RetryAfter = None,
    refuse_code: options.RefuseCode = "-9999",
    refuse_message: options.RefuseMessage = "系统错误",
    absent_id: options.AbsentIds = None,
    poison_id: options.PoisonIds = None,
    poison_effect: options.PoisonEffect = "refuse",
    callback_url: options.CallbackUrl = None,
    callback_broker: options.CallbackBroker = None,
    callback_delay: options.CallbackDelay = "fixed:0",
    lost_callbacks: options.LostCallbacks = 0.0,
) -> None:
    """Run a simulated platform: the documented order query, a truth of its own, and a record of every arrival.

    It serves POST /VERSION/sid/SID/traffic/Traffic.wx; for people and tests also GET /simulator/record and
    /simulator/truth, and POST /simulator/orders, /simulator/faults and /simulator/answers. SIGTERM or Ctrl-C ends it.
    """
    try:
        answers = AnswerStyle(
            shape=shape,
            list_key=list_key,
            ok_status=ok_status,
            echo_custom_parm=echo_custom_parm,
            key_case=key_case,
            numbers=numbers,
            shuffle=shuffle,
            unknown=unknown,
        )
        faults = Faults(
            shares=_shares(fault or ()),
            latency=Delay.parse(latency),
            retry_after=retry_after,
            refuse_code=refuse_code,
            refuse_message=refuse_message,
            absent_ids=frozenset(absent_id or ()),
            poison_ids=frozenset(poison_id or ()),
            poison_effect=poison_effect,
        )
        config = SimulatorConfig(
            accounts=_accounts(account),
            host=host,
            port=port,
            version=api_version,
            window_seconds=window,
            queries_per_window=queries_per_window,
            seed=seed,
            adopt=adopt,
            delay=Delay.parse(delay),
            failed_share=failed_share,
            stuck_share=stuck_share,
            lost_share=lost_callbacks,
            callback_delay=Delay.parse(callback_delay),
            answers=answers,
            faults=faults,
            record_path=record,
        )
        simulator = Simulator(config, on_callback=_sink(callback_url, callback_broker))
    except (ValueError, OSError) as error:
        _leave(str(error), status=2)
    _serve(simulator, as_json=as_json)


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

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
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
