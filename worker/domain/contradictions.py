"""Items that speak of two orders at once, which only a look at all rows that they name can tell."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worker.domain.records.orders import Attention, Order
from worker.domain.records.reports import IdKind, Report
from worker.domain.verdicts import Effect, Verdict

_ANOTHER_ROW = "its requestId and customParm belong to different orders"
_SAME_REQUEST_ID = "one requestId for several orders"


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """Why an order settles nothing: an item that names it names another one, too."""

    reason: str
    report: Report

    def beside(self, reports: Sequence[Report]) -> str:
        """The reason for an order that has items of its own: with the words of the item, where it is none of them."""
        return self.reason if self.report in reports else f"{self.reason}, as {self.report.words} has it"

    @property
    def verdict(self) -> Verdict:
        """The judgement for an order that has no item of its own."""
        return Verdict(
            effect=Effect.NONE, report=self.report, attention=Attention.CONFLICTING_ANSWER, reason=self.reason
        )


def find_contradictions(said: Mapping[int, tuple[Report, ...]], orders: Iterable[Order]) -> dict[int, Contradiction]:
    """Which orders are named by an item whose other id belongs to another order, or would have to share a requestId.

    `said` holds, by order id, the items that speak of an order; `orders` are all rows that the items name.
    """
    rows = list(orders)
    by_name = {(kind, name): order.id for order in rows for kind in IdKind if (name := order.key.id_of(kind))}
    found: dict[int, Contradiction] = {}
    claimed: dict[str, int] = {}
    for order_id, reports in said.items():
        for report in reports:
            names = ((IdKind.REQUEST_ID, report.request_id), (IdKind.CUSTOM_PARM, report.custom_parm))
            holders = {by_name[kind, name] for kind, name in names if name and (kind, name) in by_name}
            for holder in holders - {order_id}:
                found[order_id] = found[holder] = Contradiction(reason=_ANOTHER_ROW, report=report)
            if report.request_id and (other := claimed.setdefault(report.request_id, order_id)) != order_id:
                found[order_id] = found[other] = Contradiction(reason=_SAME_REQUEST_ID, report=report)
    return found
