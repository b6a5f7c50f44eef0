"""Each state of an order, and each reason that needs a person: what it is called and means, and what to do about it."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from worker.domain.records.orders import Attention, OrderState
from worker.domain.watching.todo import TodoKind
from worker.words import N_, Entry

STATES: Mapping[Enum, Entry] = MappingProxyType(
    {
        OrderState.PENDING: Entry(
            N_("Pending"),
            N_("No result yet: the platform has not said whether the recharge succeeded or failed."),
        ),
        OrderState.SUCCEEDED: Entry(N_("Succeeded"), N_("The recharge succeeded. This is final.")),
        OrderState.FAILED: Entry(N_("Failed"), N_("The recharge failed. This is final.")),
        OrderState.UNRESOLVED: Entry(
            N_("Unresolved"), N_("No result was found, and polling has stopped: a person has to decide.")
        ),
        OrderState.CANCELLED: Entry(N_("Cancelled"), N_("The order was cancelled. It is not polled.")),
    }
)

ATTENTION: Mapping[Enum, Entry] = MappingProxyType(
    {
        Attention.LATE_CONFLICT: Entry(
            N_("Another result came later"),
            N_("The platform said something else after the result or the cancellation. The state stays as it is."),
            N_("Ask the platform which result holds, correct the books by hand, then %(dismiss)s."),
        ),
        Attention.CONFLICTING_ANSWER: Entry(
            N_("Answer contradicts itself"),
            N_(
                "What the platform said contradicts itself (numbers, application or items), or a success came without"
                " an amount. It settled nothing."
            ),
            N_(
                "Read %(order)s: often two orders share a number. Correct it at the sender, or ask the platform for"
                " the result, then %(resolve)s."
            ),
        ),
        Attention.AMOUNT_MISMATCH: Entry(
            N_("Amount differs"),
            N_("The charge is not the expected amount, or a failed order was charged. The state holds all the same."),
            N_("Act on the state, clear up the charge with the platform, then %(dismiss)s."),
        ),
        Attention.MOBILE_MISMATCH: Entry(
            N_("Phone number differs"),
            N_("The platform's answer is about another phone number."),
            N_(
                "Compare number and phone with the billing system. Where both are right, ask the platform for the"
                " result, then %(resolve)s."
            ),
        ),
        Attention.UNKNOWN_STATUS: Entry(
            N_("Unknown status"),
            N_("The platform sent a status (trafficSts) that is neither 1, 0 nor -1."),
            N_("Read it in %(order)s, ask the platform what it means, then %(resolve)s."),
        ),
        Attention.UNKNOWN_TO_PLATFORM: Entry(
            N_("Unknown to the platform"),
            N_("The platform does not know the order, or leaves it out of its answers even where it is polled alone."),
            N_(
                "Was it ever placed at the platform, under this account? Refund nothing before that is clear. Then"
                " %(resolve)s, or have it sent under the right account."
            ),
        ),
        Attention.REJECTED_BY_PLATFORM: Entry(
            N_("Queries of it fail"),
            N_("Every query that polls this order fails, while others succeed."),
            N_(
                "Check its number and ask the platform for the result, then %(resolve)s. To have it polled again,"
                " %(reopen)s."
            ),
        ),
        Attention.TOO_OLD: Entry(
            N_("No result for too long"),
            N_("There is no result although the age limit has passed."),
            N_(
                "If it is unresolved, ask the platform for the result, then %(resolve)s. If it is still pending, read"
                " what keeps it so in %(order)s."
            ),
        ),
    }
)

TODO: Mapping[Enum, Entry] = MappingProxyType(
    {
        TodoKind.REFUSES_CONFIGURATION: Entry(
            N_("Platform refuses the application"),
            N_(
                "The platform refuses the account's application (-205): its id belongs to the other environment, this"
                " host is not in its allowlist, or it is not live."
            ),
            N_("Have it corrected at the platform, then %(resume)s; later queries go on by themselves."),
        ),
        TodoKind.NOT_CONFIGURED: Entry(
            N_("No worker has the account"),
            N_("Orders are pending, and no running worker has their account: nobody polls them."),
            N_("Have the account added to the settings of the workers, or cancel its orders."),
        ),
        TodoKind.TOO_FREQUENT: Entry(
            N_("Queried too often"),
            N_(
                "The platform said in the last hour that it is queried too often: it saw more queries of the account's"
                " SID than were sent from here."
            ),
            N_(
                "Find who else uses the SID: another deployment, a script, the platform's test page. Read when in"
                " %(queries)s."
            ),
        ),
        TodoKind.PAUSED: Entry(
            N_("Queries are paused"),
            N_("An operator paused the account: its orders are not polled."),
            N_("Once the reason is gone, %(resume)s."),
        ),
        TodoKind.BACKS_OFF: Entry(
            N_("Queries fail for long"),
            N_("Queries have failed for long: the platform, or the network to it, is down or refuses."),
            N_(
                "Read how they end in %(queries)s. They go on by themselves once it is over; to try at once,"
                " %(resume)s."
            ),
        ),
        TodoKind.ENDPOINT_STOPPED: Entry(
            N_("Receiver wants no notifications"),
            N_("The receiver answered 410, which means that it wants no more: nothing is sent to it."),
            N_(
                "Have the receiver or the URL corrected, then %(resume_notifications)s. What happened meanwhile is"
                " sent then."
            ),
        ),
        TodoKind.ENDPOINT_MISSING: Entry(
            N_("Notifications without a receiver"),
            N_("The account has no receiver, so its notifications are never sent: forgetting it was interrupted."),
            N_("To remove them, %(forget)s. To have them sent, have the receiver set again and the workers restarted."),
        ),
        TodoKind.ENDPOINT_FAILING: Entry(
            N_("Receiver takes no notifications"),
            N_(
                "The receiver has taken no notification for 75 hours, or refused every one for an hour (a wrong"
                " address or secret). It is tried again, nothing is lost."
            ),
            N_("Read how it fails in %(notifications)s. Have it corrected, then %(resume_notifications)s."),
        ),
        TodoKind.NOTIFICATIONS_UNSENT: Entry(
            N_("Nobody sends notifications"),
            N_(
                "Notifications are due for 5 minutes or more, and no process sends them: no worker runs, or none has"
                " the receiver that was entered last; the others log endpoint_differs."
            ),
            N_("Have all workers given the same settings and restarted. To notify the account no more, %(forget)s."),
        ),
        TodoKind.NOTIFICATION_GAVE_UP: Entry(
            N_("Notification given up"),
            N_(
                "The receiver takes others and refuses this one again and again: the order is settled here, and the"
                " billing system does not know."
            ),
            N_("Have the receiver's log read and its fault corrected, then %(resend_given_up)s."),
        ),
        TodoKind.NOTIFICATION_REFUSED: Entry(
            N_("Notification refused for an hour"),
            N_(
                "The receiver takes others and has refused this one for an hour. It is tried again, for some 75 hours"
                " in all."
            ),
            N_("Have its answers and its log read and the fault corrected, then %(resend)s."),
        ),
        TodoKind.ENDPOINT_PAUSED: Entry(
            N_("Notifications are paused"),
            N_("An operator paused the notifications: nothing is sent."),
            N_("Once the reason is gone, %(resume_notifications)s."),
        ),
        TodoKind.UNRESOLVED: Entry(
            N_("Unresolved orders"),
            N_("Polling stopped without a result. Neither book nor refund these orders yet."),
            N_(
                "Ask the platform for the result, then %(resolve)s. To have it polled again, %(reopen)s. A callback"
                " still settles it."
            ),
        ),
        TodoKind.REJECTED: Entry(
            N_("Refused input"),
            N_("Input that was refused in the last 7 days: these orders were not taken in."),
            N_(
                "Read its faults in %(rejected)s. Correct the sender and send it again; where the settings were at"
                " fault, %(retry)s."
            ),
        ),
        TodoKind.UNMATCHED: Entry(
            N_("Callbacks of unknown orders"),
            N_(
                "The platform called back about an order that is still unknown after a day: it was never submitted, or"
                " under other numbers."
            ),
            N_("Have the order submitted, and the callback settles it. All are in %(unmatched)s."),
        ),
    }
)
