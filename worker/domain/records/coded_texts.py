"""Sentences about orders and acts, each with its code and values.

A table stores sentence, code and values in three columns. The sentence is for readers of the table, for the command
line and for searches. The console translates the code and fills in the values.
"""

import json
from collections.abc import Callable, Mapping
from enum import Enum, unique
from functools import partial
from types import MappingProxyType
from typing import Any

from worker.domain.records.sentences import N_


@unique
class TextCode(Enum):
    """The codes and their sentences, which have a place for each value. Tables store a code's name in small letters.

    Never change the places in a sentence, because tables hold values for them. Add a new code instead.
    """

    # Facts that an answer or a callback shows.
    ITEMS_DIFFER = N_("%(count)s items for one id that differ")
    ITEM_UNREADABLE = N_("unreadable item: %(fault)s")
    FIELD_NO_TEXT = N_("neither text nor a number")
    FIELD_TOO_LONG = N_("too long")
    FIELD_NOT_STORABLE = N_("not text that can be stored")
    FIELD_SAID_TWICE = N_("said twice, with different values")
    ITEM_IS_ERROR = N_("the item is an error, %(status_code)s")
    ITEM_UNDER_OTHER_ID = N_("it stands under %(key)s and calls itself %(own)s")
    ITEM_REPEATS_CREDENTIAL = N_("it repeats a credential of the query")
    OTHER_APP_ID = N_("appid %(app_id)s is not the account's")
    OTHER_CUSTOM_PARM = N_("customParm %(custom_parm)s is not the order's")
    OTHER_REQUEST_ID = N_("requestId %(request_id)s is not the order's")
    TWO_ORDERS = N_("its requestId and customParm belong to different orders")
    SAME_REQUEST_ID = N_("one requestId for several orders")
    NO_PROOF = N_("an item without customParm settles a lone order only with the order's mobile")
    OTHER_MOBILE = N_("mobile %(mobile)s cannot be the order's")
    UNKNOWN_STATUS = N_("trafficSts %(status)s is neither 1, 0 nor -1")
    NO_AMOUNT = N_("a success without an amount: poll for it")
    AMOUNT_UNREADABLE = N_("1 without a readable oriAmount (%(amount)s)")
    AMOUNT_DIFFERS = N_("charged %(charged)s, expected %(expected)s")
    FAILURE_CHARGED = N_("charged %(charged)s for a failed order")
    NO_EVIDENCE = N_("-1 without evidence that the platform knows the order")
    DENIED = N_("-1 that says there is no such order")
    NOT_HELD = N_("the order is no longer this query's")
    # Reasons why an order is polled in another way, or is no longer polled.
    LEFT_OUT = N_("left out of %(count)s answers in a row")
    LEFT_OUT_OF_BATCHES = N_("left out, and the last %(count)s batches were answered with one item only")
    LEFT_OUT_ALONE = N_("polled alone, left out %(count)s times in a row")
    DENIED_AGAIN = N_("the platform denied it %(count)s times, the first time at %(time)s")
    POLLED_PAST_AGE_LIMIT = N_("polled past the age limit, without a result")
    PENDING_TOO_LONG = N_("still pending %(count)s windows past the age limit")  # of earlier releases
    OVERDUE = N_("still pending %(lasts)s past the age limit")
    GROUP_ANSWERED = N_("its group was answered")
    OUTAGE_OVER = N_("the platform answers again: its failures said nothing of single orders")
    BATCH_REFUSED = N_("the platform refused the batch")
    BATCH_UNREADABLE = N_("malformed, timeout or an HTTP status: perhaps the batch's fault")
    BATCH_UNAVAILABLE = N_("HTTP 401, 429 or 503: hardly the batch's fault")
    # Changes by an act or a submission.
    FILLED_IN = N_("request_id %(request_id)s, custom_parm %(custom_parm)s")
    RESULT_WAS = N_("was %(state)s")
    ATTENTION_WAS = N_("was %(attention)s")
    DISMISSED = "%(attention)s"
    UNTIL = N_("until %(time)s")
    UNTIL_RESUMED = N_("until it is resumed")
    FROM_UNTIL = N_("from %(time)s until %(until)s")
    PLAN_CANCELLED = N_("cancelled the planned pause from %(time)s until %(until)s")
    PLANS_CANCELLED = N_("cancelled %(count)s planned pauses, the first from %(time)s until %(until)s")
    PAUSE_IS_OVER = N_("The end has passed.")
    PAUSE_ENDS_FIRST = N_("The end is not after the begin.")
    PAUSE_TOO_FAR_AHEAD = N_("The end is more than 30 days ahead.")
    BACK_OFF_ENDED = N_("ended a back-off until %(time)s")
    BACK_OFF_SHORTENED = N_("ended a back-off until %(time)s; the platform asked to wait until %(until)s")
    SLOT_HELD = N_("1 slot until %(time)s")
    SLOTS_HELD = N_("%(count)s slots until %(time)s")
    ONE_ORDER = N_("1 order: %(names)s")
    ORDERS = N_("%(count)s orders: %(names)s")
    MANY_ORDERS = N_("%(count)s orders")
    RETRIED = N_("row %(row)s of %(origin)s, %(count)s taken in")
    DONE = "%(done)s"
    DONE_SETTLED_BEFORE = N_("%(done)s; settled before %(time)s")
    DONE_BEFORE = N_("%(done)s; from before %(time)s")
    DONE_WITH = N_("%(done)s; %(which)s")
    UNMATCHED_CALLBACK = N_("unmatched callback %(callback)s")
    # Reasons why an act is refused.
    NO_ORDER = N_("there is no order %(number)s")
    NO_CALLBACK = N_("its account has no such order, or the callback was linked or dismissed meanwhile")
    OTHER_ACCOUNT = N_("the callback is of the account %(account)s")
    NAMES_OTHER = N_("the callback names another order that is known here by now")
    NO_WITNESS = N_(
        "the callback shows neither an id nor the phone of the order; ask the platform, and settle it by hand"
    )
    HAS_CHANGED = N_("has changed meanwhile")
    IS_FINAL = N_("is %(state)s already; reopen it first")
    IS_SO = N_("is %(state)s already")
    IS_BY_NOW = N_("is %(state)s by now")
    IS_PENDING = N_("is pending already")
    IS_NOT_PENDING = N_("is %(state)s, not pending; reopen it first")
    SETTLED_BY_PLATFORM = N_("was settled by %(who)s; ask the platform first, then reopen it by force")
    NO_ATTENTION = N_("has no attention to dismiss")
    NEEDS_A_PERSON = N_("is unresolved and needs a person; resolve, reopen or cancel it")
    OTHER_ATTENTION = N_("has not %(attention)s any more")
    NO_ENDPOINT = N_("its account %(account)s has no endpoint; set where its notifications go, and start a worker")
    NOT_CONFIGURED = N_("its account %(account)s is not in the settings, so no worker polls it")
    NO_RESULT = N_("is pending, there is no result to send")
    TYPE_NOT_TAKEN = N_(
        "its endpoint does not take %(event)s; RECONCILER_NOTIFY_EVENTS, or notify_events of its account, says which"
        " types it takes"
    )

    @property
    def code(self) -> str:
        """The name that tables store."""
        return self.name.lower()


# Texts that may precede or follow any sentence. A text is added if the sentence has the value that its key names.
_BEFORE = {
    "order": N_("order %(order)s: "),
    "raised": N_("%(raised)s: "),
    "unreadable": N_("unreadable item: "),
    "field": N_("%(field)s: "),
}
_BEHIND = {
    "by": N_(", by %(by)s"),
    "ori_amount": N_(", charged %(ori_amount)s"),
    "price": N_(", price %(price)s"),
    "shown": N_(", %(shown)s"),
    "item": N_(", as %(item)s has it"),
    "others": N_(", beside the first %(others)s"),
    "said": N_(": %(said)s"),
}
# Texts for the place `done`, each with the number of rows of one table. A text is added if the sentence has the value
# that its key names.
_DONE = {
    "orders": N_("orders: %(orders)s"),
    # Only releases that had an archive deleted rows of this table.
    "archived_orders": N_("archived_orders: %(archived_orders)s"),
    "rejected_orders": N_("rejected_orders: %(rejected_orders)s"),
    "unmatched_callbacks": N_("unmatched_callbacks: %(unmatched_callbacks)s"),
    "platform_queries": N_("platform_queries: %(platform_queries)s"),
}
_LONGEST_VALUE = 40
"""A longer value, such as an item of the platform, is stored only as a part of the sentence. The column of values then
has the start and the end of that part."""
_CODES = {one.code: one for one in TextCode}


class CodedText(str):
    """The English sentence of a code, with its values.

    In addition to the values that have a place in the sentence, texts with these values may precede the sentence:

    - `order`: the key of the order;
    - `raised`: the attention that is raised;
    - `unreadable`: the platform's item is unreadable (the value itself is not shown);
    - `field`: the field of the item that is at fault.

    Texts with these values may follow the sentence:

    - `by`, `ori_amount`, `price` and `shown` (the attention): parts of a former result;
    - `item` and `others`: further items of the platform;
    - `said`, always at the end: the platform's own words, or an operator's.
    """

    __slots__ = ("code", "values")
    code: TextCode
    values: Mapping[str, str]

    def __new__(cls, code: TextCode, *, stored: str | None = None, **values: str | int) -> "CodedText":
        """Make the sentence, unless `stored` gives the text that a table already holds."""
        named = {name: str(value) for name, value in values.items()}
        one = super().__new__(cls, worded(code, named) if stored is None else stored)
        one.code, one.values = code, MappingProxyType(named)
        return one

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `copy` and `pickle`."""
        return partial(CodedText, self.code, stored=str(self), **self.values), ()

    def having(self, **more: str | None) -> "CodedText":
        """Return the same code with these values added or replaced. A value of None is left out or removed."""
        return CodedText(self.code, **{name: one for name, one in {**self.values, **more}.items() if one is not None})


def worded(code: TextCode, values: Mapping[str, str], translate: Callable[[str], str] = str) -> str:
    """Return the sentence of a code. `translate` gets each part of the sentence, before its places are filled."""

    def said(parts: Mapping[str, str]) -> list[str]:
        return [translate(part) for name, part in parts.items() if name in values]

    sentence = translate(code.value).replace("%(done)s", translate(N_(", ")).join(said(_DONE)))
    return "".join((*said(_BEFORE), sentence, *said(_BEHIND))) % values


def to_columns(detail: str | None) -> dict[str, str | None]:
    """The columns in which a table stores a detail. Code and values are None if the detail is not a CodedText."""
    if not isinstance(detail, CodedText):
        return {"detail": detail, "detail_code": None, "detail_values": None}
    values = {name: _stored_value(one, str(detail)) for name, one in detail.values.items()}
    column = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return {"detail": str(detail), "detail_code": detail.code.code, "detail_values": column}


def _stored_value(value: str, sentence: str) -> str | tuple[int, int]:
    """The value itself, or its start and end in the sentence if it is long and occurs there."""
    start = sentence.find(value) if len(value) > _LONGEST_VALUE else -1
    return value if start < 0 else (start, start + len(value))


def with_code(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row with its detail as a CodedText, or as plain text if the row has no code that this release knows."""
    shown = dict(row)
    code, values = _CODES.get(shown.pop("detail_code")), shown.pop("detail_values")
    if code is not None:
        sentence, held = shown["detail"], json.loads(values)
        texts = {name: one if isinstance(one, str) else sentence[slice(*one)] for name, one in held.items()}
        shown["detail"] = CodedText(code, stored=sentence, **texts)
    return shown
