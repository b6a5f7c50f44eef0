"""Variants of the product that are wrong about money, or hide it. A checker that does not find them proves nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.histories.broken import run_statement
from tests.histories.hosts import Kinds
from tests.platforms.deployment import Deployment
from tests.platforms.run import SOUND
from worker.domain.records.incoming import Answer, QueryError, Report
from worker.domain.records.orders import IdKind
from worker.domain.records.queries import Query
from worker.operations.write_back import WriteBack


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One variant: its parts, what it does after each tick, the violation that it leads to, and a platform for it."""

    kinds: Kinds = SOUND
    each_tick: Callable[[Deployment], None] = lambda _: None
    violation: str
    seed: int


def _changed(answer: Answer, change: Callable[[str, Report], Report]) -> Answer:
    """The answer with each item of a -1 changed."""
    said = {
        name: tuple(change(name, report) if report.traffic_sts == "-1" else report for report in reports)
        for name, reports in answer.said.items()
    }
    return replace(answer, said=said)


class _KnowsNoDenials(WriteBack):
    """Its list of words of denial is empty."""

    def answered(self, query: Query, answer: Answer) -> Any:
        return super().answered(query, _changed(answer, lambda _, report: replace(report, remark=None)))


class _BelievesTheFirst(WriteBack):
    """Believes any -1, whether or not the platform shows that it knows the order."""

    def answered(self, query: Query, answer: Answer) -> Any:
        mobiles = {order.polled_id: order.mobile for order in query.orders}

        def with_evidence(name: str, report: Report) -> Report:
            return replace(report, mobile=mobiles[name], ori_amount="2.94", has_amount_field=True, remark="失败")

        return super().answered(query, _changed(answer, with_evidence))


class _BelievesAbsence(WriteBack):
    """Fails each order that an answer leaves out."""

    def answered(self, query: Query, answer: Answer) -> Any:
        said = dict(answer.said)
        for name in answer.absent:
            by_request_id = query.id_kind is IdKind.REQUEST_ID
            names = {"request_id": name} if by_request_id else {"custom_parm": name}
            said[name] = (Report(**names, traffic_sts="-1", ori_amount="2.94", has_amount_field=True),)
        return super().answered(query, replace(answer, said=said, absent=()))


class _CountsOutagesAgainstOrders(WriteBack):
    """Counts each failure of a lone order, whether or not the platform answered others since."""

    def failed(self, query: Query, error: QueryError) -> Any:
        run_statement(
            self._database,
            "UPDATE account_states SET answered_by_request_id = answered_by_request_id + 1,"
            " answered_by_custom_parm = answered_by_custom_parm + 1",
        )
        return super().failed(query, error)


def _clear_attention(deployment: Deployment) -> None:
    """Removes the attention of every pending order."""
    run_statement(deployment.database, "UPDATE recharge_orders SET attention = NULL WHERE state = 'pending'")


BROKEN = {
    "an empty list of words of denial": Broken(
        kinds=Kinds(write_back=_KnowsNoDenials), violation="wrong final", seed=165
    ),
    "the first -1 is believed": Broken(kinds=Kinds(write_back=_BelievesTheFirst), violation="wrong final", seed=8),
    "absence is a failure": Broken(kinds=Kinds(write_back=_BelievesAbsence), violation="wrong final", seed=4),
    "an outage is its orders' fault": Broken(
        kinds=Kinds(write_back=_CountsOutagesAgainstOrders), violation="set aside, rejected_by_platform", seed=185
    ),
    "what waits without end is not flagged": Broken(
        each_tick=_clear_attention, violation="pending without attention", seed=2
    ),
}
"""By name."""
