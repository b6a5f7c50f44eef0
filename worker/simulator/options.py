"""The options of `reconciler platform`, each with its help, and where they come from if they are not given.

The environment and `.env` in the working directory are read as the worker reads its own, so that both can share one
`.env`: the environment wins over the file, an empty value counts as not set, and a name may be written in either case.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Option
from typer.core import TyperCommand

from worker.simulator.answers import KeyCase, Shape, UnknownAnswer

_ACCOUNT_HELP = """An account to serve; may be repeated. Others can see a process's arguments: better set
RECONCILER_ACCOUNT_SID, RECONCILER_AUTH_TOKEN and RECONCILER_APP_ID, or RECONCILER_ACCOUNTS_FILE, which are read where
this is not given, from .env too."""
_DELAY_HELP = """Seconds from an order's placing to its settling: fixed:S, uniform:LEAST,MOST, exponential:MEAN,
lognormal:MEDIAN,SIGMA or bimodal:FAST,SLOW,SLOW_SHARE."""
_FAULT_HELP = """May be repeated. Of answers: http-NNN, garbage-KIND, refuse, reset, reset-midway, silent, drip-headers,
drip-body. Of items: absent, duplicate, conflict, foreign, wrong-appid, wrong-mobile, wrong-amount, wrong-custom-parm,
unknown-status, colliding-keys, denied."""
_BROKER_HELP = """Push callbacks as Celery tasks through this broker: reconciler.record_callbacks on the queue
reconciler.orders."""

_limit, _truth, _answers, _faults, _callbacks = (
    partial(Option, rich_help_panel=panel) for panel in ("Limit", "Truth of orders", "Answers", "Faults", "Callbacks")
)

Host = Annotated[str, Option(help="Address to listen on. The control endpoint answers this machine only.")]
Port = Annotated[int, Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)]
Accounts = Annotated[list[str] | None, Option("--account", metavar="SID:TOKEN:APPID", help=_ACCOUNT_HELP)]
ApiVersion = Annotated[str, Option("--api-version", help="Version in the path.", envvar="RECONCILER_PLATFORM_VERSION")]
Seed = Annotated[int, Option(help="Everything random is drawn from it.")]
RecordFile = Annotated[
    Path | None, Option("--record", help="Append every arrival to this file, as JSON Lines.", dir_okay=False)
]
AsJson = Annotated[bool, Option("--json", help="Say that it is ready as one JSON object.")]

Window = Annotated[
    float,
    _limit("--window", help="Seconds; the limit's window.", envvar="RECONCILER_QUERY_WINDOW_SECONDS"),
]
QueriesPerWindow = Annotated[
    int,
    _limit(help="Queries of one account SID in one window.", envvar="RECONCILER_QUERIES_PER_WINDOW", min=1),
]

Adopt = Annotated[bool, _truth(help="Take unknown ids for orders placed at that moment.")]
SettleDelay = Annotated[str, _truth(help=_DELAY_HELP)]
FailedShare = Annotated[float, _truth(help="Share of orders that fail, 0 to 1.")]
StuckShare = Annotated[float, _truth(help="Share of orders that never settle.")]

AnswerShape = Annotated[Shape, _answers(help="auto: one object for one id, an array for several.")]
ListKey = Annotated[str, _answers(help="The list's key in object-list.")]
OkStatus = Annotated[str | None, _answers(help="statusCode beside the items of an object, as 000000.")]
EchoCustomParm = Annotated[bool, _answers(help="Whether items hold customParm.")]
Keys = Annotated[KeyCase, _answers(help="How keys are spelled.")]
Numbers = Annotated[bool, _answers(help="trafficSts and oriAmount as numbers.")]
Shuffle = Annotated[bool, _answers(help="Items in an order of their own.")]
Unknown = Annotated[UnknownAnswer, _answers(help="What is said of orders that the platform does not know.")]

FaultShares = Annotated[list[str] | None, _faults("--fault", metavar="NAME=SHARE", help=_FAULT_HELP)]
Latency = Annotated[str, _faults(help="Seconds before an answer: as --delay, or alternate:A,B.")]
RetryAfter = Annotated[float | None, _faults(help="Seconds; Retry-After of HTTP errors.")]
RefuseCode = Annotated[str, _faults(help="statusCode of the fault refuse.")]
RefuseMessage = Annotated[str, _faults(help="statusMsg of the fault refuse.")]
AbsentIds = Annotated[list[str] | None, _faults("--absent-id", help="An id that no answer holds; may be repeated.")]
PoisonIds = Annotated[
    list[str] | None, _faults("--poison-id", help="An id that spoils every batch it is in; may be repeated.")
]
PoisonEffect = Annotated[str, _faults(help="The fault that befalls such a batch.")]

CallbackUrl = Annotated[str | None, _callbacks(help="Push callbacks to this URL, as POST of JSON.")]
CallbackBroker = Annotated[
    str | None,
    # The URL may hold a password, and others can see a process's arguments.
    _callbacks(help=_BROKER_HELP, envvar="RECONCILER_SIMULATOR_CALLBACK_BROKER"),
]
CallbackDelay = Annotated[str, _callbacks(help="Seconds from settling to callback, as --delay.")]
LostCallbacks = Annotated[float, _callbacks("--lost-callbacks", help="Share of callbacks that are lost.")]

_ENV_FILE = Path(".env")


class UnreadableFile(ValueError):
    """The file cannot be read; the message says so, and shows nothing of it."""


def read_environment(file: Path = _ENV_FILE) -> Mapping[str, str]:
    """Every variable that has a value, by its name in upper case. Raises UnreadableFile."""
    # Here, since it is slow to load, and `reconciler --help` needs none of it.
    from pydantic_settings import BaseSettings, DotEnvSettingsSource

    try:
        in_file = DotEnvSettingsSource(BaseSettings, env_file=file).env_vars
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(
            f"{file} cannot be read ({type(error).__name__}); accepted: UTF-8 text, one NAME=value a line"
        ) from None
    named = [*in_file.items(), *os.environ.items()]
    return {name.upper(): value for name, value in named if value}


class EnvironmentCommand(TyperCommand):
    """A command whose options with a variable are read from `.env` as well."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; what is not given stands in the environment, in `.env`, or has the option's default.

        An `.env` that cannot be read is left to the command itself to report.
        """
        try:
            known = read_environment()
        except UnreadableFile:
            known = {}
        variables = {option.name: option.envvar for option in self.params if isinstance(option.envvar, str)}
        ctx.default_map = {name: known[variable] for name, variable in variables.items() if name and variable in known}
        return super().parse_args(ctx, args)
