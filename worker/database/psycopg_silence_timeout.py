"""A connection of psycopg's that does not wait for ever for a server that keeps silent.

psycopg drives every exchange by a generator, which it also wakes up ten times a second while nothing comes. Here that
generator looks at the time.
"""

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

RV = TypeVar("RV")


class BoundedConnection(psycopg.Connection[TupleRow]):
    """Ends an exchange during which the server says nothing for `answer_seconds`, with psycopg's OperationalError."""

    answer_seconds = 0.0

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        # Every statement, commit and rollback goes through it.
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: PQGen[RV]) -> Generator[Any, Any, RV]:
        try:
            wanted = next(gen)
            give_up = time.monotonic() + self.answer_seconds
            while True:
                ready = yield wanted
                if ready:
                    give_up = time.monotonic() + self.answer_seconds
                elif time.monotonic() >= give_up:
                    # Whatever the server still says belongs to nobody any more.
                    self.close()
                    raise psycopg.OperationalError(f"no answer from the server for {self.answer_seconds:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result
