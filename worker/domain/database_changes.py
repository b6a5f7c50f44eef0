"""A database that is not the one that a slot's row was written in: restored from a dump, or failed over with a loss.

Its rows may be older than the last query, so they say nothing of when the next one may be sent.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from worker.domain.records.database_identity import DatabaseChanges, DatabaseIdentity, Provenance

REPORTED_WITHIN = timedelta(hours=1)
"""So long it is reported that the database is another one."""
TOO_MANY = 3
"""Changes in that time are no restore any more: sessions reach several databases in turn."""


def is_another(written_in: Provenance, present: DatabaseIdentity) -> bool:
    """Whether a row was written in another database than the present one: its slot is to be closed."""
    return present.differs_from(written_in.identity)


def is_noted(written_in: Provenance, present: DatabaseIdentity) -> bool:
    """Whether the row says all that is known of the present database, so that nothing is to be written."""
    known = written_in.identity
    return known == present or (not present.differs_from(known) and present.with_facts_of(known) == known)


def noted(written_in: Provenance, present: DatabaseIdentity, now: datetime) -> Provenance:
    """What the row is to say from now on. A row that says nothing takes the present identity, and no change."""
    if is_another(written_in, present):
        return Provenance(identity=present, changes=(*written_in.changes, now)[-TOO_MANY:])
    return replace(written_in, identity=present.with_facts_of(written_in.identity))


def changed_at(changes: DatabaseChanges) -> datetime | None:
    """When a worker last noted that the database is another one, in the last hour; None where none has."""
    latest = max(changes.changes, default=None)
    return latest if latest is not None and latest >= changes.now - REPORTED_WITHIN else None


def changes_too_often(changes: DatabaseChanges) -> bool:
    """Whether it was noted three times in the last hour."""
    since = changes.now - REPORTED_WITHIN
    return sum(at >= since for at in changes.changes) >= TOO_MANY


def in_words(changes: DatabaseChanges) -> str | None:
    """What is to be said of it, as a clause; None where nothing is."""
    if changes.is_another:
        return (
            "the database is another one than wrote the budget (restored, or failed over): a reservation is waited for"
        )
    latest = changed_at(changes)
    if latest is None:
        return None
    found = "for the third time within an hour" if changes_too_often(changes) else "after a restore or a failover"
    minutes = (changes.now - latest).total_seconds() / 60
    return f"{minutes:,.0f} minutes ago the database was another one, {found}: a reservation was waited for"
