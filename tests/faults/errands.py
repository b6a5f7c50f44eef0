"""What a billing system sends: orders, callbacks and cancellations, each with a check whether it was applied."""

from typing import Protocol

from tests.faults.testbed import Testbed


class Errand(Protocol):
    """Something that the billing system sends, and that must not be lost."""

    def send(self) -> None:
        """Send it; the testbed records what the broker accepted."""

    def is_applied(self) -> bool:
        """Whether the database shows what was sent."""


class Enqueueing:
    """Good orders, and some that are refused."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._good = testbed.place(12, enqueue=False)
        self._bad = testbed.place(3, enqueue=False)

    def send(self) -> None:
        self._testbed.enqueue(self._good)
        orders = [{"request_id": name, "mobile": "188-0000"} for name in self._bad]
        self._testbed.send("reconciler.enqueue_orders", orders)
        self._testbed.sent.refused.update(self._bad)

    def is_applied(self) -> bool:
        refused = "\n".join(row[0] for row in self._testbed.rows("SELECT payload FROM rejected_orders"))
        return self._testbed.states().keys() >= {*self._good} and all(name in refused for name in self._bad)


class CallingBack:
    """Callbacks for orders that are not enqueued yet: each is kept."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self.names = testbed.place(3, enqueue=False, outcome="1")

    def send(self) -> None:
        for name in self.names:
            self._testbed.call_back(name)

    def is_applied(self) -> bool:
        kept = {row[0] for row in self._testbed.rows("SELECT request_id FROM unmatched_callbacks")}
        return kept >= {*self.names}


class Cancelling:
    """Cancellations of orders that would be pending for ever."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._names = testbed.place(5, outcome="stuck")

    def send(self) -> None:
        self._testbed.cancel(self._names)

    def is_applied(self) -> bool:
        states = self._testbed.states()
        return all(states[name] == "cancelled" for name in self._names)
