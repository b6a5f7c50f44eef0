"""Run the simulated platform as a process, with `reconciler platform`.

The platform's accounts, limit and version come from the worker's settings, so that platform and worker can share one
`.env`.
"""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer import Option

from worker.settings import SettingsError, load_settings
from worker.simulator.callbacks import http_push
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator

_DELAY_HELP = "Seconds from an order's placing to its settling: fixed:S or uniform:LEAST,MOST."
_URL_HELP = """Push each callback to this URL, as a POST of JSON, up to three times until it is accepted;
`reconciler callback-url` prints the path."""
# The callback URL may be given in this variable instead of an argument: a callback URL of `reconciler serve` contains a
# token, and other users of the machine can see a process's arguments.
_URL_VARIABLE = "RECONCILER_SIMULATOR_CALLBACK_URL"


def platform(
    host: Annotated[
        str, Option(help="Address to listen on. The control endpoint answers this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)] = 8100,
    seed: Annotated[int, Option(help="Everything random is drawn from it.")] = 1,
    record: Annotated[
        Path | None, Option(help="Append every arrival to this file, as JSON Lines.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print that it is ready as one JSON object.")] = False,
    adopt: Annotated[bool, Option(help="Take unknown ids for orders placed at that moment.")] = True,
    delay: Annotated[str, Option(help=_DELAY_HELP)] = "uniform:2,20",
    failed_share: Annotated[float, Option(help="Share of orders that fail.", min=0, max=1)] = 0.05,
    latency: Annotated[str, Option(help="Seconds before an answer: as --delay, or alternate:A,B.")] = "fixed:0",
    callback_url: Annotated[str | None, Option(help=_URL_HELP, envvar=_URL_VARIABLE)] = None,
    lost_callbacks: Annotated[float, Option(help="Share of callbacks that are lost.", min=0, max=1)] = 0.0,
) -> None:
    """Run a simulated platform. It answers the documented order query, and records every request.

    It serves the accounts of the worker's settings and enforces their query limit, at
    POST /VERSION/sid/SID/traffic/Traffic.wx. People and tests can also use GET /simulator/record and /simulator/truth,
    and POST /simulator/orders and /simulator/faults. SIGTERM or Ctrl-C ends it.

    Examples:
      reconciler platform
      reconciler platform --delay fixed:0 --lost-callbacks 0.5 --json
    """
    try:
        settings = load_settings()
        config = SimulatorConfig(
            accounts=tuple(
                Account(sid=one.account_sid, auth_token=one.auth_token, app_id=one.app_id)
                for one in settings.require_accounts().values()
            ),
            host=host,
            port=port,
            version=settings.platform_version,
            window_seconds=settings.query_window_seconds,
            queries_per_window=settings.queries_per_window,
            seed=seed,
            adopt=adopt,
            delay=Delay.parse(delay),
            failed_share=failed_share,
            lost_share=lost_callbacks,
            faults=Faults(latency=Delay.parse(latency)),
            record_path=record,
        )
        push = http_push(callback_url) if callback_url else None
    except (ValueError, SettingsError) as error:
        _leave(str(error), status=2)
    try:
        simulator = Simulator(config, push=push)
    except OSError as error:
        _leave(f"{error}; choose another --host, --port or --record", status=1)
    _serve(simulator, as_json=as_json)


def _serve(simulator: Simulator, *, as_json: bool) -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: ended.set())
    simulator.start()
    process = os.getpid()
    ready = f"The simulated platform serves {simulator.url} (process {process})."
    typer.echo(json.dumps({"url": simulator.url, "pid": process}) if as_json else ready)
    ended.wait()
    simulator.stop()


def _leave(message: str, *, status: int) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(status)
