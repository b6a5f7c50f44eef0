"""Two operations at once: before each statement of the one, the whole of the other runs, until it ends or waits."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

from sqlalchemy import event

from tests.support.reconciling import Workbench
from tests.support.waiting import eventually

_LOCK_WAITS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) FROM information_schema.processlist p LEFT JOIN information_schema.innodb_trx t"
    " ON p.id = t.trx_mysql_thread_id"
    " WHERE p.db = database() AND (t.trx_state = 'LOCK WAIT' OR p.state = 'Waiting for table metadata lock')",
}
READ_SECONDS = 0.15
"""Between two looks at who waits: MariaDB returns its previous result to a read within 0.1 s."""

Operation = Callable[[Workbench], Any]


@dataclass
class Race:
    """Three processes on one database, and an observer."""

    one: Workbench
    other: Workbench
    third: Workbench
    observer: Workbench

    def run(
        self, first: Operation, number: int, second: Operation, later: tuple[int, Operation] | None = None
    ) -> tuple[Any, Any] | None:
        """Run the first operation; before its statement or commit of this number, the second until it ends or waits.

        `later` is a third operation, and the number of the first one's statement before which it runs. Returns the
        answers of the first two; None where the first has fewer statements.
        """
        seen = count(1)
        operations = {number: (second, self.other)}
        if later:
            operations[later[0]] = (later[1], self.third)
        futures: list[Future[Any]] = []

        def step(*_: object) -> None:
            operation, bench = operations.get(next(seen), (None, self.other))
            if operation:
                futures.append(threads.submit(operation, bench))
                eventually(
                    lambda: all(future.done() for future in futures) or self.waits(),
                    "the other operations end, or wait for the first",
                    every=READ_SECONDS,
                )

        engine = self.one.database.engine
        names = ("before_cursor_execute", "commit")
        with ThreadPoolExecutor(2) as threads:
            for name in names:
                event.listen(engine, name, step)
            try:
                answer = first(self.one)
            finally:
                for name in names:
                    event.remove(engine, name, step)
            answers = [future.result() for future in futures]
        return (answer, answers[0]) if len(answers) == len(operations) else None

    def waits(self) -> bool:
        """Whether any session waits for another one's lock."""
        with self.observer.database.read() as connection:
            statement = _LOCK_WAITS[self.observer.database.kind]
            return bool(connection.exec_driver_sql(statement).scalar_one())
