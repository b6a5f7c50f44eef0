"""What all acts in the console have in common: whose act it is, what was typed, the page that asks, what is said after.

Each act has one page. It shows what will be done, to what, as it is now, and asks for what is needed; its button does
it. Where what was typed has to be looked at once more, the first button leads to the same page with all of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote

from flask import Blueprint, Response, abort, g, make_response, redirect, render_template, request

from worker.domain.operator_acts import MAX_REASON_LENGTH, reason_fault
from worker.domain.records.access import Viewer
from worker.operations.act_by_hand import Operator
from worker.web.access import Access
from worker.web.console.languages import text

MOST_AT_ONCE = 10_000
"""Orders that one act of the console changes; the command line does more."""

_COOKIE = "done"
_COOKIE_SECONDS = 60
_MOST_SAID = 5
_LONGEST_SAID = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """Something to type or to choose."""

    name: str
    label: str
    kind: str = "text"
    """`text`, `amount`, `choice` or `tick`."""
    value: str = ""
    options: Sequence[tuple[str, str]] = ()
    """Of a choice: values and words."""
    hint: str = ""
    fault: str = ""
    is_required: bool = False

    @property
    def shown(self) -> str:
        """What was typed or chosen, in words."""
        return dict(self.options).get(self.value, self.value) if self.kind == "choice" else self.value


@dataclass(frozen=True, kw_only=True, slots=True)
class ActPage:
    """The page of one act."""

    title: str
    meaning: str
    """What it does, and what follows."""
    about: Sequence[tuple[str, str]] = ()
    """What it is done to, as it is now: names and values."""
    fields: Sequence[Field] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    """What goes along unseen, such as what of an order was shown."""
    warnings: Sequence[str] = ()
    refused: str = ""
    """Why it was not or cannot be done."""
    is_stale: bool = False
    """Whether it was refused only because what it is done to has changed: the button stays."""
    back: str
    button: str
    is_asked_twice: bool = False
    """Whether what was typed is shown once more, before it is done."""
    is_preview: bool = False

    @property
    def has_faults(self) -> bool:
        """Whether something that was typed cannot stand."""
        return any(one.fault for one in self.fields)


def add_acting(routes: Blueprint, access: Access) -> None:
    """Have each page say what was done, once, after an act."""

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


def operator(reason: str | None = None, *, dry_run: bool = False) -> Operator:
    """Who acts. Answers 403 where they may not."""
    viewer: Viewer | None = g.get("viewer")
    if viewer is None or viewer.name is None or not viewer.may_act:
        abort(403)
    return Operator(name=viewer.name, reason=reason or None, dry_run=dry_run)


def typed(name: str) -> str:
    """What was typed into the form, without blanks at its ends. Nothing of the address: a link fills in no field."""
    return request.form.get(name, "").strip()


def addressed(name: str) -> str:
    """What the address says that the act is done to. Answers 404 for a text that no database takes."""
    value = request.args.get(name, "").strip()
    if "\x00" in value:
        abort(404)
    return value


def is_confirmed() -> bool:
    """Whether the button was pressed that does it."""
    return request.method == "POST" and request.form.get("confirmed") == "yes"


def reason_field(*, is_required: bool) -> Field:
    """The reason, as it was typed."""
    value = typed("reason")
    fault = ""
    if request.method == "POST" and (value or is_required) and reason_fault(value):
        fault = text("Say why: 1 to %(most)s characters on one line.", most=f"{MAX_REASON_LENGTH:,}")
    return Field(name="reason", label=text("Reason"), value=value, fault=fault, is_required=is_required)


def reason_of(page: ActPage) -> str:
    """The reason on the page; empty where there is none."""
    return next((one.value for one in page.fields if one.name == "reason"), "")


def show(page: ActPage) -> Response:
    """The page, or after a POST with faults the same with these: nothing was changed."""
    is_sent = request.method == "POST"
    status = 409 if is_confirmed() and page.refused else 400 if is_sent and page.has_faults else 200
    is_preview = page.is_asked_twice and is_sent and not page.has_faults and not page.refused
    return Response(render_template("console/act.html", page=replace(page, is_preview=is_preview)), status)


def finish(path: str, said: str, refused: Sequence[str] = ()) -> Response:
    """Go on to a page, which says what was done, and what was refused and why."""
    more = [text("and %(count)s more", count=len(refused) - _MOST_SAID)] if len(refused) > _MOST_SAID else []
    listed = [one[:_LONGEST_SAID] for one in refused[:_MOST_SAID]] + more
    g.done = quote(json.dumps({"said": said[:_LONGEST_SAID], "refused": listed}), safe="")
    return make_response(redirect(path, 303))


def _read_done(value: str) -> Mapping[str, object] | None:
    try:
        done = json.loads(unquote(value))
        return {"said": str(done["said"]), "refused": [str(one) for one in done["refused"]]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def for_all(page: ActPage, count: int) -> ActPage:
    """The page of an act on so many selected orders: refused where there are none, and where there are more by now than
    the page has shown."""
    has_grown = is_confirmed() and not _is_still(count)
    return replace(
        page,
        kept={"count": str(count)},
        warnings=_too_many(count),
        refused=text("There are none.") if not count else _more_than_shown() if has_grown else "",
        is_stale=bool(count) and has_grown,
    )


def _is_still(count: int) -> bool:
    shown = typed("count")
    return shown.isascii() and shown.isdecimal() and count <= int(shown[:18])


def _more_than_shown() -> str:
    return text("There are more by now. Nothing was done; look at how many they are.")


def _too_many(count: int) -> list[str]:
    if count <= MOST_AT_ONCE:
        return []
    return [text("The first %(most)s of them; do it again for the others.", most=f"{MOST_AT_ONCE:,}")]
