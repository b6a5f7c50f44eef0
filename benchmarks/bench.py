"""What the benchmarks share: servers and the large table, each made when first used."""

import os
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from benchmarks import servers, tables
from worker.adapters.log import configure_logging
from worker.settings import Settings

SID, TOKEN, APP_ID = "a" * 32, "b" * 32, "c" * 32


class Bench:
    """Closed as a context: servers that it started end, databases that it made are dropped."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        # A worker writes its log lines, too; here they are discarded, also those of what runs in this process.
        nowhere = self._stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        configure_logging("INFO", "json", stream=nowhere)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def postgres(self) -> servers.Server:
        """The database server."""
        return self._stack.enter_context(servers.postgres())

    @cached_property
    def broker(self) -> servers.Server:
        """The broker."""
        return self._stack.enter_context(servers.broker())

    @cached_property
    def large_database(self) -> str:
        """The URL of a database with 1,000,000 orders, 10% of them pending; shared by the benchmarks of one run."""
        return self._stack.enter_context(tables.database(self.postgres.url, orders=tables.LARGE))

    @property
    def used(self) -> list[str]:
        """The servers that were used, described."""
        return [vars(self)[name].description for name in ("postgres", "broker") if name in vars(self)]


def settings(database_url: str, **others: Any) -> Settings:
    """Settings with one account. Without `platform_url` the platform is a port on which no program listens."""
    values = {"account_sid": SID, "auth_token": TOKEN, "app_id": APP_ID, "platform_url": "http://127.0.0.1:9", **others}
    return Settings(database_url=database_url, **values)
