"""What we assume of the platform where its page contradicts itself or is silent, and what one reply says of it.

The numbers are those of docs/platform.md, which says what each one is, what confirms and what contradicts it.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum

from worker.domain.accounts.platform_habits import FEWEST_IDS_AS_EVIDENCE
from worker.domain.queries.after_failure import says_too_frequent
from worker.domain.queries.explain_answer import Explanation
from worker.domain.records.answers import Charset, Refused, Shape
from worker.domain.records.orders import IdKind, TrafficStatus
from worker.domain.wire.answers import named_id
from worker.domain.wire.fields import read_amount, shows_mobile


class Assumption(IntEnum):
    """What is assumed of the platform."""

    ID_FIELD = 1
    ADDRESS = 2
    SIGNATURE = 3
    PLAIN_IDS = 4
    HTTP_200 = 5
    ERROR_OBJECT = 6
    SEVERAL_ORDERS = 7
    NAMED_BY_ID = 8
    LEFT_OUT = 9
    ALL_AT_ONCE = 10
    ECHO = 11
    FIELDS = 12
    STATUS = 13
    AMOUNT = 14
    FAILED_AMOUNT = 15
    MASK = 16
    CHARSET = 17
    TOO_FREQUENT = 18


class Standing(StrEnum):
    """What a reply says of an assumption."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    OPEN = "open"
    """Nothing: it needs another reply."""


def standings(reply: Explanation) -> Mapping[Assumption, Standing]:
    """What a reply says of each assumption."""
    said = {**_of_answer(reply), **_of_items(reply)}
    return {one: _standing(*said[one]) for one in Assumption}


def _of_answer(reply: Explanation) -> dict[Assumption, tuple[bool, bool]]:
    """By the answer as a whole: whether it confirms an assumption, and whether it contradicts it."""
    answer, status = reply.answer, reply.http_status
    refusal = reply.read if isinstance(reply.read, Refused) else None
    named, count, polled = len(answer.said) if answer else 0, len(reply.reports), len(reply.query.ids)
    by_request_id = reply.query.id_kind is IdKind.REQUEST_ID
    speaks = answer is not None or refusal is not None
    is_odd = reply.shape is Shape.UNREADABLE and reply.found is not None and status in (None, 200)
    hides_items = refusal is not None and any(report.traffic_sts for report in reply.reports)
    says_too_often = refusal is not None and says_too_frequent(refusal.status_msg)
    return {
        Assumption.ID_FIELD: (by_request_id and named > 0, refusal is not None and refusal.status_code == "-2"),
        Assumption.ADDRESS: (speaks, status in (404, 405)),
        Assumption.SIGNATURE: (answer is not None, status in (401, 403)),
        Assumption.HTTP_200: (speaks and status is not None, status not in (None, 200)),
        Assumption.ERROR_OBJECT: (refusal is not None, hides_items),
        Assumption.SEVERAL_ORDERS: (named > 1, is_odd and polled > 1),
        Assumption.LEFT_OUT: (answer is not None and 0 < named < polled, False),
        Assumption.ALL_AT_ONCE: (named > 1, polled >= FEWEST_IDS_AS_EVIDENCE and count == 1),
        Assumption.ECHO: (not by_request_id and named > 0, not by_request_id and count > 0 and not named),
        Assumption.CHARSET: (answer is not None and not reply.body.isascii(), reply.charset is Charset.UNKNOWN),
        Assumption.TOO_FREQUENT: (says_too_often, status == 429),
    }


def _of_items(reply: Explanation) -> dict[Assumption, tuple[bool, bool]]:
    """The same by its items."""
    reports, kind = reply.reports, reply.query.id_kind
    nameless = [report for report in reports if named_id(report, kind) is None]
    amounts = [report.ori_amount for report in reports if report.ori_amount]
    mobiles = [report.mobile for report in reports if report.mobile]
    failed = [report for report in reports if report.status is TrafficStatus.FAILED]
    several = reply.answer is not None and len(reply.answer.said) > 1
    return {
        Assumption.PLAIN_IDS: (several, any(set("[],") & set(named_id(report, kind) or "") for report in reports)),
        Assumption.NAMED_BY_ID: (bool(reports) and not nameless, kind is IdKind.REQUEST_ID and bool(nameless)),
        Assumption.FIELDS: (bool(reports), any(report.fault for report in reports)),
        Assumption.STATUS: (bool(reports), any(report.status is None for report in reports)),
        Assumption.AMOUNT: (bool(amounts), any(read_amount(amount) is None for amount in amounts)),
        Assumption.FAILED_AMOUNT: (bool(failed), any(read_amount(report.ori_amount) for report in failed)),
        Assumption.MASK: (bool(mobiles), not all(shows_mobile(mobile, None) for mobile in mobiles)),
    }


def _standing(confirms: bool, contradicts: bool) -> Standing:
    if contradicts:
        return Standing.CONTRADICTED
    return Standing.CONFIRMED if confirms else Standing.OPEN
