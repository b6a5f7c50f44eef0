"""What follows from what monitoring finds, beside its name: a sentence, and the page where one goes on from it."""

from worker.domain.monitoring import Finding
from worker.web.console.languages import N_, text

_SENTENCES = {
    "no_tick": N_("No order is queried, and no result is sent. Start the workers."),
    "no_broker": N_("Queries go on, but no order comes in by tasks. Start the broker, or look at the network."),
    "no_beat": N_("Queries go on, but later than they might. Start beat."),
    "database_changed": N_(
        "It was restored, or failed over: every slot waits for one reservation, and queries go on by themselves."
    ),
    "paused": N_("No query is sent for its orders until the pause ends."),
    "outage": N_("The platform or the network is down. Queries go on by themselves."),
    "back_off": N_("The next query waits, and is then sent by itself."),
    "too_frequent": N_("Does another program or deployment use this account SID?"),
    "backlog": N_("More than can be queried soon: results come late."),
    "not_served": N_("Orders are due. Add the account to the settings of a worker."),
    "nothing_asked": N_("Look at the log of the workers: one may run with a longer window."),
    "attention": N_("Each has a reason, and a way to deal with it."),
    "endpoint_stopped": N_("It answered 410, so nothing is sent. Correct it, then resume."),
    "endpoint_failing": N_("It is tried again, and nothing is lost. Correct it."),
    "endpoint_missing": N_("They are never sent. Set the receiver again, or forget the endpoint once more."),
    "notifications_unsent": N_("No running worker has this endpoint in its settings."),
    "notifications_late": N_("They are tried again, and nothing is lost. Look at what the receiver answers."),
    "notifications_gave_up": N_(
        "The billing system does not know of these results. Correct the receiver, then resend."
    ),
}
_PAGES = {
    "attention": "attention",
    "backlog": "orders?state=pending",
    "outage": "queries",
    "back_off": "queries",
    "too_frequent": "queries",
    "nothing_asked": "queries",
    "endpoint_stopped": "notifications",
    "endpoint_failing": "notifications",
    "endpoint_missing": "notifications",
    "notifications_unsent": "notifications",
    "notifications_late": "notifications",
    "notifications_gave_up": "notifications",
}


def sentence_of(finding: Finding) -> str:
    """What follows from it, in the language of the request; a finding without words here says it in its own."""
    sentence = _SENTENCES.get(finding.name)
    return f"{finding.words}." if sentence is None else text(sentence)


def page_of(finding: Finding) -> str | None:
    """The path of the page, below the console's first one, that shows more of it; None where none does."""
    return _PAGES.get(finding.name)
