"""What monitoring reports, and how an endpoint fares, in words."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from worker.domain.notifications.endpoint_watch import Condition, EndpointView, unsent_since
from worker.domain.records.findings import BackOffReason, Finding, FindingKind
from worker.words import N_, Entry, Skin

FINDINGS: Mapping[str, Entry] = MappingProxyType(
    {
        "no_tick": Entry(
            N_("No worker is running"), do=N_("No order is polled, and no result is sent. Start the workers.")
        ),
        "no_broker": Entry(
            N_("The broker does not answer"),
            do=N_("Queries go on, but orders come in by tasks no more. Start the broker, or look at the network."),
        ),
        "no_beat": Entry(N_("Beat sends no ticks"), do=N_("Queries go on, but later than they might. Start beat.")),
        "database_changed": Entry(
            N_("The database is another one"),
            do=N_("Every slot waits for one reservation, and queries go on by themselves."),
        ),
        "paused": Entry(N_("Queries are paused"), do=N_("No query is sent for its orders until the pause ends.")),
        "outage": Entry(
            N_("The last queries failed"), do=N_("The platform or the network is down. Queries go on by themselves.")
        ),
        "back_off": Entry(N_("Backs off after a failure"), do=N_("The next query waits, and is then sent by itself.")),
        "too_frequent": Entry(
            N_("The platform is queried too often"), do=N_("Does another program or deployment use this account SID?")
        ),
        "backlog": Entry(N_("Many orders are due"), do=N_("More than can be polled soon: results come late.")),
        "not_served": Entry(
            N_("No running worker has this account"), do=N_("Have it added to the settings of a worker.")
        ),
        "nothing_asked": Entry(
            N_("Orders are due, and nothing is polled"),
            do=N_("Look at the log of the workers: one may run with a longer window."),
        ),
        "attention": Entry(N_("Orders need a person"), do=N_("Each has a reason, and a way to deal with it.")),
        "endpoint_stopped": Entry(
            N_("The receiver wants no notifications"), do=N_("Correct it, then %(resume_notifications)s.")
        ),
        "endpoint_failing": Entry(
            N_("The receiver takes no notifications"), do=N_("It is tried again, and nothing is lost. Correct it.")
        ),
        "endpoint_missing": Entry(
            N_("Notifications without a receiver"),
            do=N_("They are never sent. Have the receiver set again, or %(forget)s."),
        ),
        "notifications_unsent": Entry(
            N_("Nobody sends notifications"), do=N_("No running worker has this receiver in its settings.")
        ),
        "notifications_late": Entry(
            N_("Results have not been delivered for long"),
            do=N_("They are tried again, and nothing is lost. Look at what the receiver answers."),
        ),
        "notifications_gave_up": Entry(
            N_("Notifications were given up"),
            do=N_("The billing system does not know of these results. Correct the receiver, then %(resend_given_up)s."),
        ),
    }
)
"""By the stable name of a finding, what it is called, and what follows."""

CLAUSES: Mapping[FindingKind, str] = MappingProxyType(
    {
        FindingKind.NO_WORKER: N_("no worker runs on this database"),
        FindingKind.WORKERS_AWAY: N_("no worker runs or reaches the database"),
        FindingKind.WORKER_KILLED: N_(
            "no worker runs or reaches the database; one that did not end in order ticked %(lasts)s ago"
        ),
        FindingKind.NO_TICK: N_("no worker has ticked for %(lasts)s"),
        FindingKind.HANGS: N_(
            "what the workers do hangs for %(lasts)s: such a process ends itself, and another one starts"
        ),
        FindingKind.NEVER_TICKED: N_("no worker has ticked yet; the last one started %(lasts)s ago"),
        FindingKind.NO_BROKER: N_("the broker has not answered for %(lasts)s: no order comes in by tasks"),
        FindingKind.NO_BROKER_SOMEWHERE: N_("the broker has not answered for %(lasts)s on %(hosts)s"),
        FindingKind.NO_BEAT: N_("no tick of beat has come for %(lasts)s: workers tick by themselves, less often"),
        FindingKind.ANOTHER_DATABASE: N_(
            "the database is another one than wrote the budget (restored, or failed over): a reservation is waited for"
        ),
        FindingKind.DATABASE_CHANGED: N_(
            "%(lasts)s ago the database was another one, after a restore or a failover: a reservation was waited for"
        ),
        FindingKind.DATABASE_CHANGES: N_(
            "%(lasts)s ago the database was another one, for the third time within an hour: a reservation was waited"
            " for"
        ),
        FindingKind.PAUSED: N_("paused by %(by)s"),
        FindingKind.OUTAGE: N_("the last %(count)s queries failed"),
        FindingKind.BACK_OFF: N_("backs off for %(lasts)s more"),
        FindingKind.BACK_OFF_BECAUSE: N_("%(why)s, backs off for %(lasts)s more"),
        FindingKind.TOO_FREQUENT: N_("queries that the platform refused as too frequent in the last hour: %(count)s"),
        FindingKind.BACKLOG: N_("%(count)s orders are due, %(lasts)s of queries"),
        FindingKind.NOT_SERVED: N_("no running worker has this account, and orders are due: %(count)s"),
        FindingKind.NEVER_QUERIED: N_("no query yet, although orders are due"),
        FindingKind.NOT_QUERIED: N_("no query for %(lasts)s, although orders are due"),
        FindingKind.ATTENTION: N_("%(count)s need a person"),
        FindingKind.ENDPOINT_STOPPED: N_("its endpoint answered 410, and is sent nothing more"),
        FindingKind.ENDPOINT_FAILING: N_("its endpoint fails for %(lasts)s"),
        FindingKind.ENDPOINT_MISSING: N_("%(count)s notifications of it wait, and it has no endpoint"),
        FindingKind.NOTIFICATIONS_UNSENT: N_("nobody sends its notifications, which are due for %(lasts)s"),
        FindingKind.NOTIFICATIONS_LATE: N_(
            "a notification has not been delivered for %(lasts)s, %(count)s are pending; its endpoint: %(endpoint)s"
        ),
        FindingKind.NOTIFICATIONS_GAVE_UP: N_("%(count)s notifications were given up"),
    }
)
"""What is found, as a clause."""

BACK_OFF_REASONS: Mapping[Enum, Entry] = MappingProxyType(
    {
        BackOffReason.CONFIGURATION_REFUSED: Entry(N_("the platform refused the configuration (-205)")),
        BackOffReason.TOO_FREQUENT: Entry(N_("the platform says that it is queried too often")),
    }
)

CONDITIONS: Mapping[Enum, Entry] = MappingProxyType(
    {
        Condition.MISSING: Entry(N_("No endpoint: nothing is sent"), N_("has no endpoint: nothing is sent")),
        Condition.STOPPED: Entry(
            N_("Stopped: the receiver answered 410"),
            N_("stopped: it answered 410, which means that it wants no more"),
        ),
        Condition.PAUSED: Entry(N_("Paused"), N_("paused by %(by)s")),
        Condition.UNSENT: Entry(
            N_("Nobody sends: no worker has it"), N_("nobody sends to it, notifications are due for %(due)s")
        ),
        Condition.IN_DOUBT: Entry(
            N_("In doubt: refuses what it is sent"),
            N_("in doubt: it refused several events in a row, and is sent one at a time"),
        ),
        Condition.RESTING: Entry(N_("Fails at present, tried again soon"), N_("rests for %(rests)s more")),
        Condition.FAILING: Entry(N_("Failed, is being tried again"), N_("is tried again")),
        Condition.TAKING: Entry(N_("Takes notifications"), N_("takes notifications")),
    }
)
_TRIED_AGAIN = (Condition.IN_DOUBT, Condition.RESTING, Condition.FAILING)


def clause_of(finding: Finding, skin: Skin) -> str:
    """What is found, without its account and a full stop."""
    values = dict(finding.values)
    if isinstance(why := values.get("why"), BackOffReason):
        values["why"] = skin.text(BACK_OFF_REASONS[why].name)
    if isinstance(view := values.get("endpoint"), EndpointView):
        values["endpoint"] = endpoint_in_words(view, skin)
    if "by" in values:
        values["by"] = _who(values["by"], skin)
    return skin.text(CLAUSES[finding.kind], **values)


def finding_in_words(finding: Finding, skin: Skin) -> str:
    """What is found, with its account, without a full stop."""
    clause = clause_of(finding, skin)
    if finding.account is None:
        return clause
    return skin.text(N_("%(account)s: %(what)s"), account=finding.account, what=clause)


def finding_in_sentences(finding: Finding, skin: Skin) -> str:
    """What is found and what follows, without its account."""
    clause = clause_of(finding, skin)
    found = skin.text(N_("%(what)s."), what=clause[:1].upper() + clause[1:])
    return f"{found} {skin.advice(FINDINGS[finding.name].do)}"


def endpoint_in_words(view: EndpointView, skin: Skin) -> str:
    """How an endpoint fares, without a full stop."""
    endpoint, now = view.endpoint, view.now
    due = None if endpoint is None else unsent_since(endpoint, view.count, now)
    clause = skin.text(
        CONDITIONS[view.condition].means,
        by=_who(endpoint and endpoint.paused_by, skin),
        due=due and now - due,
        rests=endpoint and endpoint.rest_until and endpoint.rest_until - now,
    )
    failing = None if endpoint is None else endpoint.failing_since
    if failing is None or view.condition not in _TRIED_AGAIN:
        return clause
    return skin.text(N_("%(what)s, failing for %(lasts)s"), what=clause, lasts=now - failing)


def _who(name: object, skin: Skin) -> object:
    return name or skin.text(N_("an operator"))
