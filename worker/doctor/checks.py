"""Turn each reading of a server's state into a finding. Pure: readings are passed as values."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from worker.adapters.safe_text import first_words
from worker.database.error_kinds import ErrorKind, kind_of
from worker.database.server import MissingRights
from worker.doctor.finding import Check, fatal, ok, skipped, warning
from worker.domain.queries.slots_and_clocks import changes_too_often, database_findings, is_longer
from worker.domain.records.accounts import DatabaseChanges
from worker.domain.records.monitoring import WorkerRow
from worker.domain.records.sentences import N_, Sentence, _
from worker.domain.wire.query_request import Credentials
from worker.operations.maintain_slots import longer_window_remedy
from worker.words.sentences import sentence_of

WRITES = "database_writes"
"""The name of the check that tells why the database cannot be written at present. A worker starts nevertheless, and
waits until it can.
"""
MOST_CLOCK_SECONDS = 1.0
"""The largest accepted difference between the database's clock and this host's."""

# The form of every account SID and app id on the platform's documentation page. The page shows no token, so the form of
# a token is not known.
_ISSUED = re.compile(r"[0-9A-Za-z]{32}")
_PLACEHOLDER = re.compile(r"your-[a-z-]+")


def credentials(accounts: Mapping[str, Credentials], *, are_platforms: bool) -> list[Check]:
    """Check whether the credentials of the accounts have the form in which the platform issues them.

    There is at least one account. `are_platforms` is False if the accounts are at a simulated platform, which accepts
    credentials of any form.
    """
    faults = [fault for name, account in accounts.items() for fault in _form_faults(account, repr(name))]
    if are_platforms and faults:
        return [warning("credentials", fault, _("copy it from the platform's console again")) for fault in faults]
    count = _("1 account") if len(accounts) == 1 else _("%(count)s accounts", len(accounts))
    return [ok("credentials", "%(count)s: %(names)s", count, ", ".join(accounts))]


def clock(ahead_seconds: float) -> Check:
    """Check whether the database's clock agrees with this host's clock.

    `ahead_seconds` tells how far the database's clock is ahead; it is negative if this clock is behind.
    """
    ahead, behind = N_("%(seconds)s s ahead of this host's clock"), N_("%(seconds)s s behind this host's clock")
    distance = Sentence(ahead if ahead_seconds > 0 else behind, f"{abs(ahead_seconds):,.3f}")
    if abs(ahead_seconds) <= MOST_CLOCK_SECONDS:
        return ok("database_clock", "%(distance)s", distance)
    detail = _(
        "%(distance)s; after a change of hosts the database's clock alone says when the next query may be sent",
        distance,
    )
    return warning("database_clock", detail, _("let NTP keep the clocks of both hosts"))


def window(own: float, windows: Mapping[str, float] | None, accounts: Mapping[str, Credentials]) -> Check:
    """Check whether this worker may query: it sends no query on a slot that was written with a longer window than its
    own.

    `windows` has the longest window with which the slots of each account SID were written; None if the slots could not
    be read. All windows are in seconds.
    """
    if windows is None:
        unread = _("query_budgets could not be read")
        return warning("query_window", unread, _("let this role read and write our tables"))
    longer = [name for name, one in accounts.items() if is_longer(windows.get(one.account_sid, 0.0), own)]
    if not longer:
        return ok("query_window", "%(value)s", f"{own:g} s")
    longest = max(windows[accounts[name].account_sid] for name in longer)
    detail = _(
        "RECONCILER_QUERY_WINDOW_SECONDS is %(own)s, but a worker with a window of %(longest)s s has sent"
        " queries for %(accounts)s on this database, so this worker would send none",
        f"{own:g}",
        f"{longest:g}",
        ", ".join(longer),
    )
    return fatal("query_window", detail, longer_window_remedy(own, longest))


def rights(found: MissingRights | Exception) -> Check:
    """Check whether the database's role may read and write our tables.

    `found` is an error if the missing rights could not be read.
    """
    name = "database_rights"
    if isinstance(found, Exception):
        kind, why = kind_of(found), first_words(found)
        if kind is None or kind in (ErrorKind.LOCKED, ErrorKind.CONTENDED):
            return _unread(name, _("could not be tried"), why, _("try again once nothing holds our tables"))
        return fatal(WRITES, _("%(what)s (%(why)s)", kind.words, why), kind.remedy)
    if found.rights:
        return fatal(name, found.words, ErrorKind.RIGHTS.remedy)
    if found.is_superuser:
        detail = _("the role %(role)s is a superuser: anyone who gets its password rules the whole server", found.role)
        remedy = _('use another, as "A role that may not change tables" in docs/deployment.md does')
        return warning(name, detail, remedy)
    return ok(name, "the role %(role)s may read and write each table", found.role)


def identity(changes: DatabaseChanges | None) -> Check:
    """Check whether the slots were written in this database. `changes` is None if the slots could not be read."""
    name = "database_identity"
    if changes is None:
        return skipped(name, "the slots could not be read")
    words = next(map(sentence_of, database_findings(changes)), None)
    if words is None:
        return ok(name, "the one that the slots were written in")
    if changes_too_often(changes):
        return fatal(name, words, _("see which databases RECONCILER_DATABASE_URL leads to, and let it lead to one"))
    return warning(name, words, _('see "After a failover or a restore of the database" in docs/reliability.md'))


def versions(own: str, workers: Sequence[WorkerRow] | None) -> Check:
    """Check whether every worker process runs the version `own`, which is that of this program.

    `workers` is None if the rows of the worker processes could not be read.
    """
    if workers is None:
        return skipped("versions", "worker_processes could not be read")
    others = sorted({f"{row.host}: {row.version or '?'}" for row in workers if row.version != own})
    if not others:
        return ok("versions", "%(value)s", own)
    detail = _("this program is %(own)s, and workers run another version (%(others)s)", own, ", ".join(others))
    return warning("versions", detail, _("stop all of them, install one version everywhere, and start them"))


def durability(settings: Mapping[str, str | None]) -> list[Check]:
    """Check whether a committed row survives a power cut, with these settings of the database.

    The value of a setting is None if it could not be read.
    """
    remedy = _("see in the server's own settings that a commit reaches the disk")
    return [
        _unread(name, _("could not be read"), None, remedy) if value is None else _durable(name, value)
        for name, value in settings.items()
    ]


def encoding(name: str) -> Check:
    """Check whether a PostgreSQL database can store every text of the platform. `name` is the database's encoding."""
    if name == "UTF8":
        return ok("database_encoding", "%(value)s", name)
    detail = _("%(name)s: such a database cannot hold what the platform writes", name)
    if name == "SQL_ASCII":
        detail = _("%(name)s: such a database cannot hold what the platform writes and checks none of it", name)
    remedy = _("make one with `createdb --encoding=UTF8 --template=template0`, and move the data into it by pg_dump")
    return fatal("database_encoding", detail, remedy)


def sessions(is_kept: bool | None) -> Check:
    """Check whether a connection to PostgreSQL keeps its session. `is_kept` tells this; None if it is unknown."""
    name = "database_sessions"
    if is_kept is None:
        return skipped(name, "no second connection could be made")
    if is_kept:
        return ok(name, "each connection keeps its own")
    return warning(
        name,
        _("a pooler lends a session for one transaction: time zone, date style and timeouts get lost or reach others"),
        _("set pool_mode = session for this database (PgBouncer), or connect to the server itself"),
    )


def of_broker(name: str, value: Any, why_unread: str | None) -> Check:
    """The finding of a check of the broker. `name` is the check's key in `BROKER`, and `value` the broker's reply.

    If no reply could be read, `value` is None, and `why_unread` gives the reason.
    """
    unread, remedy, judge = BROKER[name]
    return _unread(name, unread, why_unread, remedy) if value is None else judge(value)


def _broker_rights(refused: Sequence[str]) -> Check:
    name = "broker_rights"
    if refused:
        detail = _("no message is taken in, or some get lost: refused are %(commands)s", ", ".join(refused))
        return warning(name, detail, _PERMIT)
    return ok(name, "the user may do all that the worker does")


def _maxmemory_policy(policy: str) -> Check:
    name = "maxmemory_policy"
    if policy == "noeviction":
        return ok(name, "%(value)s", policy)
    lost = _("orders on their way to the table")
    if policy.startswith("volatile-"):
        lost = _("answers that callers wait for")
    detail = _("%(policy)s: when its memory is full, %(lost)s are dropped", policy, lost)
    return warning(name, detail, _("set maxmemory-policy noeviction"))


def _persistence(kind: str) -> Check:
    name = "persistence"
    if kind == "aof":
        return ok(name, "%(value)s", "appendonly yes")
    if kind == "snapshots":
        return ok(name, "snapshots: a crash loses the messages since the last one; appendonly yes loses a second's")
    detail = _("no persistence: when the server restarts, orders on their way to the table are lost")
    return warning(name, detail, _("set appendonly yes"))


def _default_queue(waiting: int) -> Check:
    name = "default_queue"
    if not waiting:
        return ok(name, "no message waits in Celery's default queue")
    count = _("1 message waits") if waiting == 1 else _("%(count)s messages wait", f"{waiting:,}")
    detail = _("%(messages)s in Celery's default queue, celery, which this worker does not consume", count)
    remedy = _('if they are for it, have their sender name queue="reconciler.orders", and send them again')
    return warning(name, detail, remedy)


_PERMIT = _('permit it, as "The smallest rights at Redis" in docs/deployment.md does')
BROKER: Mapping[str, tuple[Sentence, Sentence, Callable[[Any], Check]]] = {
    "broker_rights": (_("could not be tried"), _PERMIT, _broker_rights),
    "maxmemory_policy": (
        _("could not be read"),
        _("see in the server's own settings that it is noeviction"),
        _maxmemory_policy,
    ),
    "persistence": (
        _("unknown: it could not be read"),
        _("see in the server's own settings that it is on"),
        _persistence,
    ),
    "queues": (
        _("the worker cannot declare a queue, and takes nothing in"),
        _('delete that queue once it is empty, and see "Redis or RabbitMQ" in docs/scaling.md'),
        lambda _declared: ok("queues", "the worker can declare them"),
    ),
    "default_queue": (
        _("unknown: it could not be read"),
        _("see that no message waits in the queue celery"),
        _default_queue,
    ),
}
"""The checks of a broker, by name. Each has two sentences for a reply that could not be read, the detail and the
remedy, and a function that turns a reply into a finding. The checks test whether:

- `broker_rights`: our user in Redis may run all commands that the worker needs
- `maxmemory_policy`: Redis keeps accepted messages when its memory is full
- `persistence`: Redis keeps accepted messages over a restart; the reply is `aof`, `snapshots` or `none`
- `queues`: the existing queues are as the worker declares them
- `default_queue`: Celery's default queue is empty; a message is there if its sender did not name our queue
"""


def _form_faults(account: Credentials, name: str) -> Iterator[Sentence]:
    for what, value in ((_("account SID"), account.account_sid), (_("app id"), account.app_id)):
        if not _ISSUED.fullmatch(value):
            yield _(
                "the %(what)s of account %(name)s is not 32 letters and digits, as the platform issues them", what, name
            )
    token = account.auth_token
    if _PLACEHOLDER.fullmatch(token) or token in (account.account_sid, account.app_id):
        yield _("the auth token of account %(account)s is no token, but its placeholder, SID or app id", name)


def _unread(name: str, detail: Sentence, why: str | None, remedy: Sentence) -> Check:
    return warning(name, _("%(what)s (%(why)s)", detail, why) if why else detail, remedy)


def _durable(name: str, value: str) -> Check:
    lost = _("commits, orders and the record that a query was sent among them")
    match name, value:
        case ("fsync", "on") | ("synchronous_commit", "on" | "remote_apply"):
            return ok(name, "%(value)s", value)
        # The value 1 flushes at every commit. The value 3, which only MariaDB has, flushes even more often.
        case "innodb_flush_log_at_trx_commit", "1" | "3":
            return ok(name, "%(value)s", value)
        case "synchronous_commit", "local" | "remote_write":
            return ok(
                name, "%(value)s: enough for a single server; a failover to a standby may lose the last commits", value
            )
        case "fsync", _:
            detail = _("a power cut can destroy the database")
            remedy = _("set fsync = on, and reload the server's settings")
        case "synchronous_commit", _:
            detail = _("a crash can lose the last %(lost)s", lost)
            remedy = _("set synchronous_commit = on, for the server or with ALTER ROLE")
        case _:
            detail, remedy = _("a crash can lose the last second's %(lost)s", lost), _("set %(name)s = 1", name)
    return warning(name, _("%(what)s: %(reason)s", value, detail), remedy)
