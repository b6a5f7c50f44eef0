"""An operator's act of many transactions, such as a purge: one row of `operator_acts`, which each transaction that does
a part of it brings up to date. So a run that is killed leaves its name beside what it has done.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from worker.database.transactions import Connection, Database
from worker.domain.records.acts import ActEntry, ActKind
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.operations.act_by_hand import Operator
from worker.stores.recorded_acts import add_act, set_detail

log = structlog.stdlib.get_logger(__name__)


class LongAct:
    """Who acts, and what was done so far; recorded once something was done."""

    def __init__(self, operator: Operator, kind: ActKind, said: TextCode = TextCode.DONE, **values: str) -> None:
        """`said` holds the counts as `done`, with these values."""
        self._operator, self._kind, self._said, self._values = operator, kind, said, values
        self._done = Counter[str]()
        self._row: int | None = None

    @contextmanager
    def part(self, database: Database) -> Iterator[tuple[Connection, Counter[str]]]:
        """A transaction that counts in what it is given, by name, the rows that it has changed."""
        part = Counter[str]()
        with database.write() as connection:
            yield connection, part
            row = self._record(database, connection, self._done + part) if part.total() else self._row
        # Committed: a part that is repeated begins from here.
        self._row, self._done = row, self._done + part

    def log_end(self) -> None:
        """Log what was done, if anything was."""
        if self._row is not None:
            log.info(
                "an operator acted",
                action="operator_act",
                act=self._kind.value,
                actor=self._operator.name,
                reason=self._operator.reason,
                **self._done,
            )

    def _record(self, database: Database, connection: Connection, done: Counter[str]) -> int:
        counts = {name: f"{count:,}" for name, count in done.items() if count}
        detail = CodedText(self._said, **counts, **self._values)
        if self._row is not None:
            set_detail(connection, self._row, detail)
            return self._row
        entry = ActEntry(
            at=database.now(connection),
            actor=self._operator.name,
            act=self._kind,
            account=None,
            reason=self._operator.reason,
            detail=detail,
        )
        return add_act(connection, entry)


@contextmanager
def part_of(act: LongAct | None, database: Database) -> Iterator[tuple[Connection, Counter[str]]]:
    """A transaction of an act; where there is none, a plain one."""
    if act is not None:
        with act.part(database) as part:
            yield part
        return
    with database.write() as connection:
        yield connection, Counter()
