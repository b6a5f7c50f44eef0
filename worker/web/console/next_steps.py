"""What happens to an order next, in words: when it is queried, and why not yet."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from worker.domain.next_step import Step, Wait
from worker.domain.records.orders import OrderState
from worker.domain.records.parameters import Rules
from worker.views.order import Outlook
from worker.web.console.formats import duration, time_in_zone
from worker.web.console.languages import N_, text

STATES: Mapping[OrderState, str] = MappingProxyType(
    {
        OrderState.PENDING: N_("No result yet: the platform has not said whether the recharge succeeded or failed."),
        OrderState.SUCCEEDED: N_("The recharge succeeded. This is final."),
        OrderState.FAILED: N_("The recharge failed. This is final."),
        OrderState.UNRESOLVED: N_("No result was found, and queries have stopped: a person has to decide."),
        OrderState.CANCELLED: N_("The order was cancelled. It is not queried."),
    }
)
"""What an order in each state is, in a sentence."""

WAITS: Mapping[Wait, str] = MappingProxyType(
    {
        Wait.FINAL: N_("It is final: it is not queried any more, and what the platform says later is only recorded."),
        Wait.CANCELLED: N_("It is cancelled: it is not queried any more."),
        Wait.UNRESOLVED: N_("Queries have stopped: settle it by hand, or reopen it. A callback still settles it."),
        Wait.IN_FLIGHT: N_(
            "A query that includes it is under way. Without an answer it may be queried again: %(until)s."
        ),
        Wait.GRACE: N_("Its callback is waited for until %(until)s."),
        Wait.NOT_DUE: N_(
            "The last answer found it still open. An earlier query would bring little, the next is due: %(until)s."
        ),
        Wait.NOT_CONFIGURED: N_("The settings do not name its account: nobody queries its orders."),
        Wait.NO_WORKER: N_("No worker is running: tell the administrator."),
        Wait.NOT_SERVED: N_("No running worker has its account: tell the administrator."),
        Wait.PAUSED: N_("An operator paused the account."),
        Wait.BACK_OFF: N_("The last query of the account failed; it waits until %(until)s."),
        Wait.BUDGET: N_("The platform allows %(slots)s in %(seconds)s s; the next may be sent: %(until)s."),
        Wait.APART: N_("It is queried apart from the others: queries with it failed, or answers left it out."),
        Wait.NEXT_QUERY: N_("The next query includes it."),
        Wait.QUEUE: N_("%(count)s other due orders may come before it, %(per_query)s a query."),
    }
)
"""Each reason to wait, as a sentence."""
_NOTHING = {Wait.FINAL, Wait.CANCELLED, Wait.UNRESOLVED}


def next_in_words(outlook: Outlook) -> str:
    """When it is queried next, as a sentence."""
    following, now = outlook.next_step, outlook.now
    waits = {step.wait for step in following.steps}
    if waits & _NOTHING:
        return text(N_("Nothing happens by itself."))
    if Wait.IN_FLIGHT in waits:
        return text(N_("The answer of a query that includes it."))
    if following.polled_at is None:
        return text(N_("A query, but when cannot be said."))
    until = at(following.polled_at, now)
    if following.is_at_the_earliest:
        return text(N_("A query, at the earliest: %(until)s."), until=until)
    return text(N_("A query: %(until)s."), until=until)


def wait_in_words(step: Step, outlook: Outlook, rules: Rules) -> str:
    """One reason to wait, as a sentence."""
    return text(
        WAITS[step.wait],
        until="" if step.until is None else at(step.until, outlook.now),
        slots=text(N_("%(count)s queries"), count=rules.slots) if rules.slots > 1 else text(N_("one query")),
        seconds=f"{rules.spacing_seconds:g}",
        count=f"{step.count or 0:,}",
        per_query=step.per_query,
    )


def at(time: datetime, now: datetime) -> str:
    """A time and how far ahead it lies; `now` for one that has passed."""
    wait = (time - now).total_seconds()
    if wait <= 0:
        return text(N_("now"))
    return text(N_("%(time)s (in %(duration)s)"), time=time_in_zone(time), duration=duration(wait))
