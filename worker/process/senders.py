"""Send notifications, in threads of a worker process.

One thread claims due notifications and writes to the database how deliveries ended. The other threads send, one
delivery each. So a sending thread never waits for a transaction, and a transaction never waits for a receiver. If a
process ends before it has noted a delivery, the lease of the claim expires, and the notification is sent again.
"""

import random
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import count

import structlog

from worker.adapters.clock import Clock
from worker.adapters.notify import Transport
from worker.adapters.safe_text import first_words
from worker.adapters.watchdog import Watchdog, Watched
from worker.database.error_kinds import OUTAGES, OutageLog
from worker.database.transactions import Database
from worker.domain.notifications.deliveries import fault_of, free_places, may_still_send
from worker.domain.notifications.resting_endpoints import DeliveryEffects, is_in_doubt
from worker.domain.records.notifications import Claim, EndedTry, NotificationState
from worker.operations.deliver import note_and_claim, read_due

log = structlog.stdlib.get_logger(__name__)

THREADS = 16
"""The most deliveries that one process makes at the same time, to all endpoints together."""
POLL_SECONDS = 0.5
"""Seconds between two reads of the due notifications by an idle process. A new notification waits at most this long."""
_FAR_READ_SECONDS = 60.0
"""Seconds between two searches for notifications whose due time is far in the future.

A clock that was stepped back may have put these times too far ahead. A claim finds out whether this is so.
"""
_GATHER_SECONDS = 0.005
"""Seconds to wait for further deliveries to end after one has ended. So one transaction notes all of these ends, and
claims as many new deliveries.
"""
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The destination of an account's notifications."""

    digest: str
    """The digest of the endpoint, as in `notify_endpoints.target_digest`."""
    transport: Transport


@dataclass(kw_only=True, eq=False)
class Senders:
    """Sends the notifications of some accounts until `close`. Create it after the fork.

    `targets` has the target of each account. If `targets` is empty, nothing is sent, and no thread is started.
    """

    database: Database
    clock: Clock
    targets: Mapping[str, Target]
    watchdog: Watchdog
    threads: int = THREADS
    poll_seconds: float = POLL_SECONDS
    outages: OutageLog = OUTAGES

    def __post_init__(self) -> None:
        self._sending = ThreadPoolExecutor(self.threads, thread_name_prefix="notify-send")
        # Only the claiming thread uses these three: the accounts with something to claim, the number of each account's
        # deliveries under way, and the ended deliveries that are not noted yet.
        self._due: set[str] = set()
        self._under_way: Counter[str] = Counter()
        self._unnoted: dict[str, list[EndedTry]] = {}
        self._claims = {account: count() for account in self.targets}
        self._next_read = self._next_far_read = 0.0
        # The sending threads append to this: each entry is a claim and how its delivery ended; None if nothing was
        # sent.
        self._ended: deque[tuple[Claim, EndedTry | None]] = deque()
        self._woken = threading.Event()
        self._closing = False
        self._thread = self.watchdog.start_thread(self._run, name="notify-claims") if self.targets else None

    def close(self) -> None:
        """Stop claiming, wait for the deliveries under way (about 10 s at most), and note how they ended."""
        self._closing = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
        self._sending.shutdown(wait=True)
        self._guarded(self._turn)
        for target in self.targets.values():
            target.transport.close()

    def _run(self) -> None:
        while not self._closing:
            self.watchdog.step()
            if self._guarded(self._turn):
                if self._woken.wait(max(0.0, self._next_read - time.monotonic())) and not self._closing:
                    time.sleep(_GATHER_SECONDS)
            else:
                self._woken.wait(_RETRY_SECONDS)
            self._woken.clear()

    def _turn(self) -> None:
        self._take_ended()
        if not self._closing:
            self._read_due()
        accounts = self._due | self._unnoted.keys()
        # Take the accounts in random order, so that no endpoint is always the last to get a thread.
        for account in random.sample(sorted(accounts), len(accounts)):
            places = 0
            if account in self._due and not self._closing:
                others_wait = len(self._due) > 1
                places = free_places(account, self._under_way, threads=self.threads, others_wait=others_wait)
            if places or account in self._unnoted:
                self._note_and_claim(account, places)

    def _read_due(self) -> None:
        now = time.monotonic()
        if now < self._next_read:
            return
        self._next_read = now + self.poll_seconds
        however_far = now >= self._next_far_read
        self._due = read_due(self.database, self.targets, however_far=however_far)
        if however_far:
            self._next_far_read = now + _FAR_READ_SECONDS

    def _note_and_claim(self, account: str, places: int) -> None:
        target = self.targets[account]
        ended = self._unnoted.get(account, [])
        # Read the clock before the claim, because the lease starts with the claim. So however long the claim takes,
        # nothing is sent after the lease has ended.
        claimed_at = self.clock.boot()
        number = next(self._claims[account]) if places else 0
        claims, effects = note_and_claim(
            self.database, account, target.digest, ended, places=places, claim_number=number
        )
        self._unnoted.pop(account, None)
        if effects is not None:
            # Read again sooner if needed: the next delivery to an endpoint in doubt may be due long before the next
            # regular read.
            self._next_read = min(self._next_read, time.monotonic() + effects.wait.total_seconds())
        if places and len(claims) < places:
            self._due.discard(account)
        for one in claims:
            self._under_way[account] += 1
            watched = self.watchdog.begin("a delivery")
            self._sending.submit(self._deliver, one, claimed_at, target.transport, watched)
        _log_ends(account, ended, effects)

    def _deliver(self, claimed: Claim, claimed_at: float, transport: Transport, watched: Watched) -> None:
        ended = None
        watched.here()
        try:
            boot = self.clock.boot()
            if may_still_send(claimed=claimed_at, boot=boot):
                now = claimed.claimed_at + timedelta(seconds=boot - claimed_at)
                result = transport.deliver(claimed.event_id, claimed.body, now)
                ended = EndedTry(claim=claimed, result=result, jitter=random.random())
        except Exception:
            log.exception("a notification could not be sent", action="sender_failed", account=claimed.account)
        finally:
            self._ended.append((claimed, ended))
            watched.end()
            self._woken.set()

    def _take_ended(self) -> None:
        while self._ended:
            claimed, ended = self._ended.popleft()
            self._under_way[claimed.account] -= 1
            if ended is not None:
                self._unnoted.setdefault(claimed.account, []).append(ended)

    def _guarded(self, part: Callable[[], None]) -> bool:
        """Run a part of the work, and log its error. Return whether it succeeded; if not, the caller runs it again."""
        try:
            part()
        except Exception as error:
            if not self.outages.explains(error, "notifications wait"):
                _log_defect(error)
            return False
        return True


def _log_defect(error: Exception) -> None:
    # Log the error's first words and the traceback's code lines, which contain no values. The full text of an error of
    # SQLAlchemy would quote the parameters of its statement, including the receivers' answers.
    log.error(
        "notifications are not sent at present",
        action="sender_failed",
        error=f"{type(error).__name__}: {first_words(error)}",
        stack="".join(traceback.format_tb(error.__traceback__)).rstrip(),
    )


def _log_ends(account: str, ended: Sequence[EndedTry], effects: DeliveryEffects | None) -> None:
    accepted = sum(fault_of(one.result) is None for one in ended)
    if accepted:
        log.info("notifications were delivered", action="notifications_delivered", account=account, count=accepted)
    if effects is None:
        return
    for one in effects.failed:
        log.warning(
            "a notification was not delivered",
            action="notification_failed",
            account=account,
            event_id=one.claim.event_id,
            order_id=one.claim.order_id,
            outcome=one.result.outcome.value,
            http_status=one.result.http_status,
        )
    for row in effects.rows:
        if row.state is NotificationState.GAVE_UP:
            log.error(
                "a notification was given up: nothing sends it again until somebody resends it",
                action="notification_gave_up",
                account=account,
                event_id=row.event_id,
                order_id=row.order_id,
                tries=row.tries,
            )
    _log_endpoint(effects)


def _log_endpoint(effects: DeliveryEffects) -> None:
    before, after = effects.before, effects.endpoint
    names = {"account": after.account, "endpoint": after.shown}
    if after.stopped_at is not None and before.stopped_at is None:
        log.error("the endpoint wants no more notifications (410)", action="endpoint_stopped", **names)
    if is_in_doubt(after) and not is_in_doubt(before):
        log.warning(
            "the endpoint refused several events in a row: each goes alone", action="endpoint_in_doubt", **names
        )
    if after.rest_level > 0 and before.rest_level == 0:
        until = after.rest_until.isoformat() if after.rest_until else None
        log.warning("the endpoint takes no notifications at present", action="endpoint_rests", until=until, **names)
    if after.rest_from is None and before.rest_from is not None:
        log.info("the endpoint takes notifications again", action="endpoint_recovered", **names)
