"""The common parts of all acts in the console: the actor, the typed fields, the page of an act, and its result.

Each act has one page. The page shows what will be done, the present state of the things that the act changes, and the
fields to fill in. The button of the page does the act. If the person must check the input once more, the first button
only shows the page again, with all input.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote

from flask import (
    Blueprint,
    Response,
    abort,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)

from worker.database.transactions import Database
from worker.domain.orders.operator_acts import MAX_REASON_LENGTH, actor_fault, reason_fault
from worker.domain.records import csv_columns
from worker.domain.records.operators import ActKind, Viewer
from worker.domain.wire.fields import read_written_amount
from worker.operations.act_by_hand import Operator
from worker.settings import Settings
from worker.views.acts import ActSearch, recent_acts
from worker.web.access import Access
from worker.web.console.lists import Filters, List, add_list
from worker.web.console.translations import text, yuan

MOST_AT_ONCE = 10_000
"""How many orders one act of the console may change. The command line may change more."""

_COOKIE = "done"
_COOKIE_SECONDS = 60
_MOST_SAID = 5
_LONGEST_SAID = 400


Done = str | tuple[str, Sequence[str]] | Response
"""The result of an act: a message; or a message and a list of refusals with their reasons; or a whole page as the
answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A field to type in or to choose from."""

    name: str
    label: str
    kind: str = "text"
    """`text`, `amount`, `time`, `choice`, `choices` (comma-separated values) or `tick`."""
    value: str = ""
    options: Sequence[tuple[str, str]] = ()
    """The values to choose from, each with the words that are shown for it."""
    hint: str = ""
    fault: str = ""
    is_required: bool = False

    @property
    def shown(self) -> str:
        """The typed or chosen value in words; for an amount, the amount that the typed text was read as."""
        if self.kind == "amount":
            return yuan(read_written_amount(self.value))
        return dict(self.options).get(self.value, self.value) if self.kind == "choice" else self.value


@dataclass(frozen=True, kw_only=True, slots=True)
class ActPage:
    """The page of one act."""

    title: str
    meaning: str
    """What the act does, and its consequences."""
    about: Sequence[tuple[str, str | None]] = ()
    """The present state of the things that the act changes, as pairs of a name and a value. Pairs with an empty value
    are not shown."""
    fields: Sequence[Field] = ()
    needs_reason: bool | None = False
    """Whether a reason is required; None if the page has no field for it."""
    reason_label: str = ""
    """The label of the field for the reason; "Reason" if this is empty."""
    seen: object = ()
    """The state that the page shows; if empty, `about` is used. If the form was made for another state than the present
    one, the act is refused, and the page is shown again. With None, the act is done even if the state has changed."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Hidden fields of the form."""
    warnings: Sequence[str] = ()
    refused: str = ""
    """Why the act was not or cannot be done."""
    changes: Sequence[str] = ()
    """Recent changes: who made each, when, and what changed. Shown if the act is refused."""
    is_stale: bool = False
    """Whether the act was refused only because the state has changed. If so, the page still has the button."""
    back: str = ""
    """The page to show after the act: its path, relative to the path of the overview."""
    button: str = ""
    """The text of the button; the title of the page if this is empty."""
    do: Callable[[Operator], Done]
    """Does the act, in the name of the person who pressed the button."""
    is_asked_twice: bool = False
    """Whether the input is shown once more before the act is done."""
    is_preview: bool = False

    @property
    def digest(self) -> str:
        """The hash of the state that the page shows; the form sends it along. Empty if the act is done even if the
        state has changed."""
        return "" if self.seen is None else sha256(repr(self.seen or self.about).encode()).hexdigest()

    @property
    def has_faults(self) -> bool:
        """Whether any input is wrong."""
        return any(one.fault for one in self.fields)


def add_acting(routes: Blueprint, access: Access, settings: Settings, database: Database) -> None:
    """Add `/acts`, the list of all acts. Also make the page that follows an act show what was done; it is shown
    once."""
    add_list(
        routes,
        settings,
        database,
        List(
            name="acts",
            columns=csv_columns.ACTS,
            narrow=lambda filters: partial(recent_acts, wanted=_search_of(filters)),
            shown=lambda _: {"kinds": list(ActKind)},
        ),
    )

    def take_done() -> Mapping[str, object] | None:
        value = request.cookies.get(access.cookie_name(_COOKIE))
        if value is None:
            return None
        g.is_done_said = True
        return _read_done(value)

    @routes.app_context_processor
    def of_acts() -> dict[str, object]:
        return {"done": take_done}

    @routes.after_app_request
    def keep_or_forget_done(answer: Response) -> Response:
        if "done" in g:
            access.set_cookie(answer, _COOKIE, g.done, seconds=_COOKIE_SECONDS, samesite="Strict")
        elif g.get("is_done_said"):
            access.delete_cookie(answer, _COOKIE)
        return answer


def _search_of(filters: Filters) -> ActSearch:
    return ActSearch(
        accounts=filters.chosen_accounts(),
        actor=filters.fit("actor", actor_fault),
        kinds=filters.one_of("act", ActKind),
        since=filters.since(),
        until=filters.until(),
    )


def add_act(routes: Blueprint, rule: str, endpoint: str, page_of: Callable[..., ActPage]) -> None:
    """Add the route of an act. `page_of` makes the page of the act; its arguments are the variable parts of the path.
    Viewers who may not act get 403."""

    def act(**named: Any) -> Response:
        viewer: Viewer | None = g.get("viewer")
        if viewer is None or viewer.name is None or not viewer.may_act:
            abort(403)
        page = _with_reason(_if_as_seen(page_of(**named)))
        if not is_confirmed() or page.has_faults or page.refused:
            return _show(page)
        reason = None if page.needs_reason is None else typed("reason") or None
        done = page.do(Operator(name=viewer.name, reason=reason))
        if isinstance(done, Response):
            return done
        return _finish(page.back, *((done,) if isinstance(done, str) else done))

    routes.add_url_rule(rule, endpoint, act, methods=["GET", "POST"])


def _with_reason(page: ActPage) -> ActPage:
    if page.needs_reason is None:
        return page
    return replace(page, fields=[*page.fields, _reason_field(page, is_required=page.needs_reason)])


def _if_as_seen(page: ActPage) -> ActPage:
    """The page; with a refusal if the form was made for another state than the present one. The viewer must then look
    at the new state and click again."""
    if page.refused or page.digest in ("", typed("seen")) or not is_confirmed():
        return page
    changed = text("This has changed meanwhile. Nothing was done; look at what it is now.")
    return replace(page, refused=changed, is_stale=True)


def typed(name: str) -> str:
    """The value of a field of the sent form, without blanks at its ends. Values in the address do not count, because a
    link must not fill in a field."""
    return request.form.get(name, "").strip()


def addressed(name: str) -> str:
    """The value of a parameter in the address that names the object of the act, such as an account. Answers 404 for a
    text that no database can store."""
    value = request.args.get(name, "").strip()
    if "\x00" in value:
        abort(404)
    return value


def is_confirmed() -> bool:
    """Whether the button that does the act was pressed."""
    return request.method == "POST" and request.form.get("confirmed") == "yes"


def _reason_field(page: ActPage, *, is_required: bool) -> Field:
    """The field for the reason, with the value that was typed."""
    value = typed("reason")
    fault = ""
    if request.method == "POST" and (value or is_required) and reason_fault(value):
        fault = text("Say why: 1 to %(most)s characters on one line.", MAX_REASON_LENGTH)
        if page.reason_label:
            fault = text("Write 1 to %(most)s characters on one line.", MAX_REASON_LENGTH)
    label = page.reason_label or text("Reason")
    return Field(name="reason", label=label, value=value, fault=fault, is_required=is_required)


def _show(page: ActPage) -> Response:
    """Render the page when no act was done; after a POST, with the faults of the input."""
    is_sent = request.method == "POST"
    status = 409 if is_confirmed() and page.refused else 400 if is_sent and page.has_faults else 200
    is_ready = is_sent and typed("edit") != "yes" and not page.has_faults and not page.refused
    is_preview = page.is_asked_twice and is_ready
    return Response(render_template("console/act.html", page=replace(page, is_preview=is_preview)), status)


def _finish(path: str, said: str, refused: Sequence[str] = ()) -> Response:
    """Redirect to a page that says what was done."""
    more = [text("and %(count)s more", len(refused) - _MOST_SAID)] if len(refused) > _MOST_SAID else []
    listed = [one[:_LONGEST_SAID] for one in refused[:_MOST_SAID]] + more
    g.done = quote(json.dumps({"said": said[:_LONGEST_SAID], "refused": listed}), safe="")
    return make_response(redirect(f"{url_for('console.overview')}{path}", 303))


def _read_done(value: str) -> Mapping[str, object] | None:
    try:
        done = json.loads(unquote(value))
        return {"said": str(done["said"]), "refused": [str(one) for one in done["refused"]]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
