"""Sign in at the console. Each try is counted before its password is checked, so that tries at the same time cannot
exceed the limit."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.records.operators import SignIn, User
from worker.domain.tokens_and_sign_ins import (
    IDLE,
    LONGEST,
    MOST_BY_ADDRESS,
    MOST_BY_NAME,
    Address,
    address_subject,
    begun,
    digest_of,
    forgotten_before,
    is_to_be_noted,
    name_subject,
    one_less,
    one_more,
    wait_until,
)
from worker.stores import operators as store

_TOKEN_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """A try to sign in: the user's name, and the address from which it came."""

    name: str
    address: Address | None

    @property
    def most(self) -> dict[str, int]:
        """How many tries in a row may fail for the name, and how many for the address. A failed try counts against
        both."""
        return {name_subject(self.name): MOST_BY_NAME, address_subject(self.address): MOST_BY_ADDRESS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """The result of counting a try before its password is checked. The times are read from the database's clock."""

    now: datetime
    wait_until: datetime | None
    """When the try may be made again; None if it may be made now. In that case the try counts as a failure until
    `sign_in` is called."""
    next_wait_until: datetime | None = None
    """Until when the next try must wait if this try fails; None if the next one need not wait."""


class SignIns:
    """The sign-ins of all processes that serve the console."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retry_contention
    def count(self, tried: Try) -> Counted:
        """Count a try to sign in, unless the name or the address of the try must wait."""
        with self._database.write() as connection:
            failures = store.lock_failures(connection, tried.most)
            now = self._database.now(connection)
            waits = [until for found in failures.values() if (until := wait_until(found, now))]
            if waits:
                return Counted(now=now, wait_until=max(waits))
            counted = {one: one_more(failures.get(one), most, now) for one, most in tried.most.items()}
            for subject in sorted(counted):
                save = store.save_failures if subject in failures else store.begin_failures
                save(connection, subject, counted[subject])
            next_waits = [one.locked_until for one in counted.values() if one.locked_until is not None]
            return Counted(now=now, wait_until=None, next_wait_until=max(next_waits, default=None))

    @retry_contention
    def sign_in(self, tried: Try, user: User, former_token: str | None) -> str:
        """Sign in a user whose password was right. The try no longer counts as a failure. Return the token of the new
        sign-in.

        `former_token` belongs to an older sign-in, which the new one replaces. Sign-ins that have ended, and old
        failures, are deleted.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        with self._database.write() as connection:
            self._take_back(connection, tried)
            now = self._database.now(connection)
            store.delete_ended(connection, created_before=now - LONGEST, seen_before=now - IDLE)
            store.delete_forgotten(connection, forgotten_before(now))
            if former_token is not None:
                store.delete_sign_in(connection, digest_of(former_token))
            store.add_sign_in(connection, digest_of(token), begun(user, now))
        return token

    def find(self, token: str) -> tuple[SignIn | None, datetime]:
        """Return the sign-in of a token (None if there is none), and the present time of the database's clock."""
        with self._database.read() as connection:
            return store.read_sign_in(connection, digest_of(token)), self._database.now(connection)

    @retry_contention
    def note_seen(self, token: str, sign_in: SignIn, now: datetime) -> None:
        """Record when the user was last seen, at most once a minute."""
        if is_to_be_noted(sign_in, now):
            with self._database.write() as connection:
                store.note_seen(connection, digest_of(token), now)

    @retry_contention
    def sign_out(self, token: str) -> None:
        """End the sign-in of a token."""
        with self._database.write() as connection:
            store.delete_sign_in(connection, digest_of(token))

    def _take_back(self, connection: Connection, tried: Try) -> None:
        by_name, by_address = name_subject(tried.name), address_subject(tried.address)
        failures = store.lock_failures(connection, tried.most)
        store.delete_failures(connection, by_name)
        if by_address in failures:
            if left := one_less(failures[by_address]):
                store.save_failures(connection, by_address, left)
            else:
                store.delete_failures(connection, by_address)
