from datetime import timedelta

from tests.unit.domain.builders import NOW, make_state
from worker.domain.orders.operator_acts import pause
from worker.domain.records.acts import Act
from worker.domain.watching.announced_pauses import announced_pauses

ANN, BOB = (Act(actor=name, reason="ticket 77", now=NOW) for name in ("ann", "bob"))
HOUR = timedelta(hours=1)


def test_pauses_that_hold_or_are_planned_are_announced_with_their_accounts_the_earliest_first() -> None:
    states = [
        pause(make_state(account="default"), ANN, NOW + 9 * HOUR, NOW + 2 * HOUR),
        pause(make_state(account="shop"), ANN, NOW + 9 * HOUR, NOW + 2 * HOUR),
        pause(make_state(account="north"), BOB, NOW + HOUR),
        make_state(account="south"),
    ]
    shown = [(one.paused_by, accounts) for one, accounts in announced_pauses(states, NOW)]
    assert shown == [("bob", ["north"]), ("ann", ["default", "shop"])]
    assert [accounts for _, accounts in announced_pauses(states, NOW + 3 * HOUR)] == [["default", "shop"]]
    assert announced_pauses(states, NOW + 9 * HOUR) == []


def test_a_pause_without_an_end_is_not_announced() -> None:
    assert announced_pauses([pause(make_state(), ANN, None)], NOW) == []
