"""What each reason that needs a person means, and what to do about it on these pages.

`worker.domain.watching.todo.TODO` says the same in terms of the command line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from worker.domain.records.orders import Attention
from worker.domain.watching.todo import TodoKind
from worker.words import N_

_SETTLE = N_("Ask the platform for the result, then use “Settle by hand” on the order's page.")


@dataclass(frozen=True, slots=True)
class Guidance:
    """A reason, for the person who is to do something about it; each a message that is translated when shown."""

    means: str
    do: str


GUIDANCE: Mapping[Attention | TodoKind, Guidance] = MappingProxyType(
    {
        Attention.LATE_CONFLICT: Guidance(
            N_("The platform said something else after the result or the cancellation. The state stays as it is."),
            N_(
                "Ask the platform which result holds, and correct the books by hand. Then dismiss the attention on the"
                " order's page."
            ),
        ),
        Attention.CONFLICTING_ANSWER: Guidance(
            N_("What the platform said contradicts itself, or a success came without an amount. It settled nothing."),
            N_(
                "Read the history on the order's page: often two orders share a number. Correct it at the sender, or"
                " ask the platform for the result and settle the order by hand."
            ),
        ),
        Attention.AMOUNT_MISMATCH: Guidance(
            N_("The charge is not the expected amount, or a failed order was charged. The state holds all the same."),
            N_("Clear up the charge with the platform. Then dismiss the attention on the order's page."),
        ),
        Attention.MOBILE_MISMATCH: Guidance(
            N_("The platform's answer is about another phone number."),
            N_(
                "Compare number and phone with the billing system. Where both are right, ask the platform for the"
                " result and settle the order by hand."
            ),
        ),
        Attention.UNKNOWN_STATUS: Guidance(
            N_("The platform sent a status that is neither 1, 0 nor -1; the history on the order's page shows it."),
            _SETTLE,
        ),
        Attention.UNKNOWN_TO_PLATFORM: Guidance(
            N_("The platform does not know the order, or leaves it out of its answers."),
            N_(
                "Was it ever placed at the platform, under this account? Refund nothing before that is clear. Then"
                " settle it by hand, or have it sent under the right account."
            ),
        ),
        Attention.REJECTED_BY_PLATFORM: Guidance(
            N_("Every query that includes this order fails, while others succeed."),
            N_(
                "Check its number and ask the platform for the result. Then settle it by hand, or reopen it to have it"
                " queried again."
            ),
        ),
        Attention.TOO_OLD: Guidance(
            N_("There is no result although the age limit has passed."),
            N_(
                "If it is unresolved, ask the platform for the result and settle it by hand. If it is still pending,"
                " its page says what keeps it waiting."
            ),
        ),
        TodoKind.REFUSES_CONFIGURATION: Guidance(
            N_("The platform refuses the account's application (-205): wrong environment, address, or not live yet."),
            N_(
                "Have the administrator correct it at the platform, then resume its queries; later they go on by"
                " themselves."
            ),
        ),
        TodoKind.NOT_CONFIGURED: Guidance(
            N_("Orders are pending, and no running worker has their account: nobody queries them."),
            N_("Have the administrator add the account to the workers' settings, or cancel its orders."),
        ),
        TodoKind.TOO_FREQUENT: Guidance(
            N_("The platform says that it is queried too often: somebody else uses the same account SID."),
            N_("Have the administrator find the other deployment, script or test page. The queries show when."),
        ),
        TodoKind.PAUSED: Guidance(
            N_("An operator paused the account: its orders are not queried."),
            N_("Resume its queries once the reason is gone."),
        ),
        TodoKind.BACKS_OFF: Guidance(
            N_("Queries have failed for long: the platform, or the network to it, is down or refuses."),
            N_(
                "Look at how the last queries ended. They go on by themselves once it is over; resume them to try at"
                " once."
            ),
        ),
        TodoKind.ENDPOINT_STOPPED: Guidance(
            N_("The receiver answered 410, which means that it wants no more: nothing is sent to it."),
            N_("Have the receiver corrected, then resume its notifications. What happened meanwhile is sent then."),
        ),
        TodoKind.ENDPOINT_MISSING: Guidance(
            N_("The account has no receiver, so its notifications are never sent: forgetting it was interrupted."),
            N_("Forget the endpoint once more on the page of notifications, or have the receiver set again."),
        ),
        TodoKind.ENDPOINT_FAILING: Guidance(
            N_(
                "The receiver has taken no notification for 75 hours, or refused every one for an hour (a wrong address"
                " or secret). It is tried again, nothing is lost."
            ),
            N_("The list of notifications shows how it fails. Have it corrected, then resume its notifications."),
        ),
        TodoKind.NOTIFICATIONS_UNSENT: Guidance(
            N_("Notifications are due, and no process sends them: no worker runs, or none has this receiver."),
            N_("Have the administrator give all workers the same settings and restart them."),
        ),
        TodoKind.NOTIFICATION_GAVE_UP: Guidance(
            N_(
                "The receiver takes others and refuses this one again and again: the billing system does not know the"
                " result."
            ),
            N_("Have the receiver's log read and its fault corrected, then resend."),
        ),
        TodoKind.NOTIFICATION_REFUSED: Guidance(
            N_("The receiver takes others and has refused this one for an hour. It is tried again for some days."),
            N_("Have the receiver's log read and its fault corrected, then resend from the order's page."),
        ),
        TodoKind.ENDPOINT_PAUSED: Guidance(
            N_("An operator paused the notifications: nothing is sent."),
            N_("Resume its notifications once the reason is gone."),
        ),
        TodoKind.UNRESOLVED: Guidance(
            N_("Queries stopped without a result. Neither book nor refund these orders yet."),
            N_(
                "Ask the platform for the result, then settle the order by hand on its page; or reopen it to have it"
                " queried again. A callback still settles it."
            ),
        ),
        TodoKind.REJECTED: Guidance(
            N_("Input that was refused in the last 7 days: these orders were not taken in."),
            N_("Correct the sender and send it again; where our settings were at fault, retry the row on its page."),
        ),
        TodoKind.UNMATCHED: Guidance(
            N_(
                "The platform called back about an order that is still unknown after a day: it was never submitted, or"
                " under other numbers."
            ),
            N_("Have the order submitted, and the callback settles it."),
        ),
    }
)
"""For each reason."""
