"""The simulated platform: the documented order query on loopback, with a truth of its own and a record of arrivals.

It shares no code with the rest of the package, so a mistake in the client cannot be hidden by the same mistake here.
It uses the standard library only; Typer in `command`, and Celery only where callbacks are sent as tasks.
"""

from worker.simulator.answers import AnswerStyle, KeyCase, Shape, UnknownAnswer
from worker.simulator.callbacks import http_sink
from worker.simulator.config import Account, AccountsError, SimulatorConfig, accounts_from_environment, parse_account
from worker.simulator.draws import Delay, Outcome
from worker.simulator.faults import Faults
from worker.simulator.orders import NewOrder
from worker.simulator.platform import Platform
from worker.simulator.record import Record
from worker.simulator.server import Simulator

__all__ = [
    "Account",
    "AccountsError",
    "AnswerStyle",
    "Delay",
    "Faults",
    "KeyCase",
    "NewOrder",
    "Outcome",
    "Platform",
    "Record",
    "Shape",
    "Simulator",
    "SimulatorConfig",
    "UnknownAnswer",
    "accounts_from_environment",
    "http_sink",
    "parse_account",
]
