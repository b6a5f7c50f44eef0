"""Each act of an operator: what it is called, what it does, and what follows."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from worker.domain.records.acts import ActKind
from worker.words import N_, Entry

ACTS: Mapping[Enum, Entry] = MappingProxyType(
    {
        ActKind.RESOLVE: Entry(
            N_("Settle by hand"),
            N_(
                "Makes the order final by your word, once you know from the platform what became of it. It is polled no"
                " more. What the platform says later is compared, and shown where it contradicts."
            ),
        ),
        ActKind.REOPEN: Entry(
            N_("Reopen"),
            N_("Makes the order pending again and polls it next. Its result is cleared; the history keeps it."),
        ),
        ActKind.CANCEL: Entry(
            N_("Cancel"),
            N_(
                "Polls an order no more that was dealt with otherwise. It cancels nothing at the platform. A result"
                " that comes later is shown, and changes nothing."
            ),
        ),
        ActKind.DISMISS: Entry(
            N_("Dismiss the attention"),
            N_("Takes the order off the list of those that need a person. Its state stays as it is."),
        ),
        ActKind.CHECK: Entry(N_("Check now"), N_("Polls the order before others, within the same limit.")),
        ActKind.PAUSE: Entry(
            N_("Pause queries"),
            N_(
                "Sends no query for the account's orders. Orders and callbacks are still taken in, and callbacks settle"
                " orders as ever. An earlier pause is replaced."
            ),
        ),
        ActKind.RESUME: Entry(
            N_("Resume queries"),
            N_(
                "Polls the account's orders again from now on: its pause ends, and what it waits after a failure. What"
                " the platform itself asked to wait has to pass, and so has the window of the last query."
            ),
        ),
        ActKind.HOLD: Entry(
            N_("Hold all queries"),
            N_(
                "Sends no query of any account for a full reservation. It is for after a failover or a restore that may"
                " have lost commits: the database may not know of the last query. A query that is under way settles"
                " nothing any more; its orders are polled again."
            ),
        ),
        ActKind.RETRY: Entry(
            N_("Retry refused input"),
            N_(
                "Gives the same input to the same checks once more, for after a correction of the settings. What is"
                " taken in goes from the list; what is refused again stays, with its new faults."
            ),
        ),
        ActKind.RESEND: Entry(
            N_("Resend"),
            N_("Sends the billing system once more how the order stands. What it knows already it ignores."),
        ),
        ActKind.PAUSE_NOTIFICATIONS: Entry(
            N_("Pause notifications"),
            N_("Sends the account nothing until somebody resumes it. What happens meanwhile waits."),
        ),
        ActKind.RESUME_NOTIFICATIONS: Entry(
            N_("Resume notifications"),
            N_("Sends to the account again at once: after a pause, out of a rest, or after its receiver answered 410."),
        ),
        ActKind.FORGET_NOTIFICATIONS: Entry(
            N_("Forget the endpoint"),
            N_(
                "Removes the endpoint, and all notifications that nobody has received: they will never be sent. Remove"
                " it from the settings of the workers first, or their next start enters it again."
            ),
        ),
        ActKind.ARCHIVE: Entry(N_("Archive settled orders")),
        ActKind.RESTORE: Entry(N_("Restore archived orders")),
        ActKind.PURGE: Entry(N_("Delete old rows")),
    }
)
