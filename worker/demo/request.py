"""What the command line asks a demo for."""

from dataclasses import dataclass, field
from typing import Annotated

from typer import Option

from worker.demo.plan import FEWEST_ORDERS, LONGEST_WINDOW_SECONDS, MOST_ORDERS, SHORTEST_WINDOW_SECONDS, Pace

_DATABASE_HELP = "SQLAlchemy URL of a database that is empty or migrated; without it, SQLite in the work folder."
_BROKER_HELP = "URL of a Redis, Valkey or RabbitMQ that no worker of ours uses; without it, Valkey from its wheel."
_WINDOW_HELP = "Seconds; the platform's limit is one query in each. In real life 60."
_SERVE_HELP = "Show the console from the start, and keep it, the worker and the platform running until Ctrl-C."
_JSON_HELP = "The summary as one JSON object; all else on standard error."
_SHORTEST, _LONGEST = SHORTEST_WINDOW_SECONDS, LONGEST_WINDOW_SECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The options. The representation shows no URL: it may hold a password."""

    database_url: Annotated[str | None, Option(help=_DATABASE_HELP, metavar="URL")] = field(default=None, repr=False)
    broker_url: Annotated[str | None, Option(help=_BROKER_HELP, metavar="URL")] = field(default=None, repr=False)
    orders: Annotated[int, Option(help="How many orders.", min=FEWEST_ORDERS, max=MOST_ORDERS)] = 1000
    window: Annotated[float, Option(help=_WINDOW_HELP, min=_SHORTEST, max=_LONGEST)] = 2.0
    seed: Annotated[int, Option(help="What happens to each order is drawn from it.")] = 1
    serve: Annotated[bool, Option("--serve", help=_SERVE_HELP)] = False
    as_json: Annotated[bool, Option("--json", help=_JSON_HELP)] = False

    @property
    def pace(self) -> Pace:
        """The durations that go with the window."""
        return Pace(window=self.window)
