"""How an order is named."""

from dataclasses import dataclass, replace

from worker.domain.records.reports import IdKind


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderKey:
    """What the outside calls an order by: an account and at least one of the two ids."""

    account: str
    request_id: str | None = None
    custom_parm: str | None = None

    def id_of(self, kind: IdKind) -> str | None:
        """The id of one kind, or None where the order has none."""
        return self.request_id if kind is IdKind.REQUEST_ID else self.custom_parm

    def with_id(self, kind: IdKind, value: str) -> "OrderKey":
        """The same key with an id of one kind set."""
        if kind is IdKind.REQUEST_ID:
            return replace(self, request_id=value)
        return replace(self, custom_parm=value)

    def __str__(self) -> str:
        return f"{self.account}:{self.request_id or self.custom_parm}"


class Directory:
    """Which orders hold which ids, while a list is worked through."""

    def __init__(self) -> None:
        # An enumeration takes longer to go through than the ids of both kinds to be looked up.
        self._by_request_id: dict[tuple[str, str | None], int] = {}
        self._by_custom_parm: dict[tuple[str, str | None], int] = {}

    def enter(self, key: OrderKey, order_id: int) -> None:
        """Note that an order holds the ids of a key."""
        if key.request_id is not None:
            self._by_request_id[key.account, key.request_id] = order_id
        if key.custom_parm is not None:
            self._by_custom_parm[key.account, key.custom_parm] = order_id

    def holders(self, key: OrderKey) -> list[int]:
        """The orders that hold either id of a key: one, none, or two that its ids confuse."""
        one = self._by_request_id.get((key.account, key.request_id))
        other = self._by_custom_parm.get((key.account, key.custom_parm))
        return sorted({holder for holder in (one, other) if holder is not None})
