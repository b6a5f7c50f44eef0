"""The options of `reconciler platform`, each with its help, and where they come from if they are not given.

The environment and `.env` in the working directory are read as the worker reads its own, so that both can share one
`.env`: the environment wins over the file, an empty value counts as not set, and a name may be written in either case.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Option
from typer.core import TyperCommand

from worker.simulator.answers import KeyCase, Shape, UnknownAnswer

_LIMIT, _TRUTH, _ANSWERS, _FAULTS, _CALLBACKS = "Limit", "Truth of orders", "Answers", "Faults", "Callbacks"

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

Host = Annotated[str, Option(help="Address to listen on. The control endpoint answers this machine only.")]
Port = Annotated[int, Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)]
Accounts = Annotated[list[str] | None, Option(metavar="SID:TOKEN:APPID", help=_ACCOUNT_HELP)]
ApiVersion = Annotated[str, Option(help="Version in the path.", envvar="RECONCILER_PLATFORM_VERSION")]
Seed = Annotated[int, Option(help="Everything random is drawn from it.")]
RecordFile = Annotated[Path | None, Option(help="Append every arrival to this file, as JSON Lines.", dir_okay=False)]
AsJson = Annotated[bool, Option("--json", help="Say that it is ready as one JSON object.")]

Window = Annotated[
    float,
    Option(help="Seconds; the limit's window.", envvar="RECONCILER_QUERY_WINDOW_SECONDS", rich_help_panel=_LIMIT),
]
QueriesPerWindow = Annotated[
    int,
    Option(
        help="Queries of one account SID in one window.",
        envvar="RECONCILER_QUERIES_PER_WINDOW",
        min=1,
        rich_help_panel=_LIMIT,
    ),
]

Adopt = Annotated[bool, Option(help="Take unknown ids for orders placed at that moment.", rich_help_panel=_TRUTH)]
SettleDelay = Annotated[str, Option(help=_DELAY_HELP, rich_help_panel=_TRUTH)]
FailedShare = Annotated[float, Option(help="Share of orders that fail, 0 to 1.", rich_help_panel=_TRUTH)]
StuckShare = Annotated[float, Option(help="Share of orders that never settle.", rich_help_panel=_TRUTH)]

AnswerShape = Annotated[
    Shape, Option(help="auto: one object for one id, an array for several.", rich_help_panel=_ANSWERS)
]
ListKey = Annotated[str, Option(help="The list's key in object-list.", rich_help_panel=_ANSWERS)]
OkStatus = Annotated[
    str | None, Option(help="statusCode beside the items of an object, as 000000.", rich_help_panel=_ANSWERS)
]
EchoCustomParm = Annotated[bool, Option(help="Whether items hold customParm.", rich_help_panel=_ANSWERS)]
Keys = Annotated[KeyCase, Option(help="How keys are spelled.", rich_help_panel=_ANSWERS)]
Numbers = Annotated[bool, Option(help="trafficSts and oriAmount as numbers.", rich_help_panel=_ANSWERS)]
Shuffle = Annotated[bool, Option(help="Items in an order of their own.", rich_help_panel=_ANSWERS)]
Unknown = Annotated[
    UnknownAnswer, Option(help="What is said of orders that the platform does not know.", rich_help_panel=_ANSWERS)
]

FaultShares = Annotated[list[str] | None, Option(metavar="NAME=SHARE", help=_FAULT_HELP, rich_help_panel=_FAULTS)]
Latency = Annotated[
    str, Option(help="Seconds before an answer: as --delay, or alternate:A,B.", rich_help_panel=_FAULTS)
]
RetryAfter = Annotated[float | None, Option(help="Seconds; Retry-After of HTTP errors.", rich_help_panel=_FAULTS)]
RefuseCode = Annotated[str, Option(help="statusCode of the fault refuse.", rich_help_panel=_FAULTS)]
RefuseMessage = Annotated[str, Option(help="statusMsg of the fault refuse.", rich_help_panel=_FAULTS)]
AbsentIds = Annotated[
    list[str] | None, Option(help="An id that no answer holds; may be repeated.", rich_help_panel=_FAULTS)
]
PoisonIds = Annotated[
    list[str] | None, Option(help="An id that spoils every batch it is in; may be repeated.", rich_help_panel=_FAULTS)
]
PoisonEffect = Annotated[str, Option(help="The fault that befalls such a batch.", rich_help_panel=_FAULTS)]

CallbackUrl = Annotated[
    str | None, Option(help="Push callbacks to this URL, as POST of JSON.", rich_help_panel=_CALLBACKS)
]
CallbackBroker = Annotated[
    str | None,
    # The URL may hold a password, and others can see a process's arguments.
    Option(help=_BROKER_HELP, envvar="RECONCILER_SIMULATOR_CALLBACK_BROKER", rich_help_panel=_CALLBACKS),
]
CallbackDelay = Annotated[
    str, Option(help="Seconds from settling to callback, as --delay.", rich_help_panel=_CALLBACKS)
]
LostCallbacks = Annotated[float, Option(help="Share of callbacks that are lost.", rich_help_panel=_CALLBACKS)]

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
