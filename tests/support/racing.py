"""Two operations at once: before each statement of the one, the whole of the other runs, until it ends or waits."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from sqlalchemy import event

from tests.support.reconciling import ManualClock, Workbench
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
                    lambda: not wait(futures, READ_SECONDS).not_done or self.waits(),
                    "the other operations end, or wait for the first",
                    every=0.0,
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

    def run_either(self, one: Operation, other: Operation, number: int, *, one_first: bool) -> tuple[Any, Any] | None:
        """As `run`, with either operation as the first one; the answers come in the order of the arguments."""
        first, second = (one, other) if one_first else (other, one)
        answers = self.run(first, number, second)
        return answers if answers is None or one_first else (answers[1], answers[0])

    def waits(self) -> bool:
        """Whether any session waits for another one's lock."""
        return is_waited_for(self.observer)


def is_waited_for(bench: Workbench) -> bool:
    """Whether any session of the bench's database waits for another one's lock."""
    with bench.database.read() as connection:
        return bool(connection.exec_driver_sql(_LOCK_WAITS[bench.database.kind]).scalar_one())


@contextmanager
def racing(url: str) -> Iterator[Race]:
    """Processes of one host on a database; only the observer has opened the slots."""
    clock = ManualClock()
    benches = [Workbench(url, clock=clock) for _ in range(4)]
    benches[3].open()
    yield Race(*benches)
    for bench in benches:
        bench.close()


def at_once(url: str, operation: Operation) -> None:
    """Run an operation in four processes at once."""
    benches = [Workbench(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(operation, benches))
    for bench in benches:
        bench.close()


def rounds(run: Callable[[str, int], tuple[Any, Any] | None]) -> Iterator[tuple[str, Any, Any]]:
    """Run once for each statement, each time with an order of its own; yields the order and both answers."""
    for number in count(1):
        name = f"n{number}"
        answers = run(name, number)
        if answers is None:
            assert number > 4, "the first operation has hardly a statement: nothing was tried"
            return
        yield name, *answers
