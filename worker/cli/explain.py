"""`reconciler explain`: explain how a recorded answer of the platform is read, and print explanations."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from worker.adapters.safe_text import Redactor, report_text
from worker.cli.output import SKIN, AsJson, console, print_fields, print_json, print_table, text, word_of
from worker.domain.queries.explain_reply import Explanation, Standing, asked_of, standings
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import Report
from worker.domain.records.orders import IdKind
from worker.domain.wire.fields import is_known_key, read_amount
from worker.domain.wire.replies import BODY_LIMIT
from worker.domain.wire.strict_json import words_of
from worker.words.catalogue import name
from worker.words.sentences import detail_text, proof_in_words


class IdColumn(StrEnum):
    """The two kinds of an order's id, by the names of their columns."""

    REQUEST_ID = "request_id"
    CUSTOM_PARM = "custom_parm"


_BODY = typer.Argument(metavar="FILE", help="The answer's body as it came; - is standard input.")
_IDS: Any = typer.Option("--ids", metavar="ID,...", help="The ids that the query polled.")
_KIND: Any = typer.Option("--id-kind", help="Which of an order's ids these are.")
_TYPE: Any = typer.Option("--content-type", metavar="TEXT", help="The answer's header of that name.")


def explain(
    file: Annotated[typer.FileBinaryRead, _BODY],
    ids: Annotated[str, _IDS],
    id_kind: Annotated[IdColumn, _KIND] = IdColumn.REQUEST_ID,
    content_type: Annotated[str | None, _TYPE] = None,
    as_json: AsJson = False,
) -> None:
    """Explain a recorded answer of the platform: how it is read, what each item proves, and which assumptions hold.

    The command needs no settings and no database, and does not change anything. It knows only the ids of the orders, so
    it shows what each item proves by itself. Phone numbers and credentials are masked. The assumptions are numbered as
    in docs/platform.md.

    Examples:
      reconciler explain answer.json --ids 2016010000000219,2016010000000220
      reconciler explain answer.bin --ids A-1001 --id-kind custom_parm --content-type "text/html;charset=GBK"
      reconciler explain - --ids 2016010000000219 --json < answer.json
    """
    asked = asked_of(list(dict.fromkeys(ids.split(","))), IdKind[id_kind.name])
    # Read at most one byte more than the limit: a body with this byte is refused, and a file such as /dev/zero never
    # ends.
    body = file.read(BODY_LIMIT + 1)
    shown = to_response(Explanation(query=asked, body=body, content_type=content_type, rules=Rules()), Redactor())
    if as_json:
        print_json(shown)
    else:
        print_explanation(shown)


def to_response(reply: Explanation, redactor: Redactor) -> dict[str, Any]:
    """An explanation as JSON, with masked texts."""

    def shown(text: str | None, key: str = "") -> str | None:
        return None if text is None else report_text(str(text), redactor, key=key)

    return {
        "shape": reply.shape.value,
        "shape_in_words": name(reply.shape, SKIN),
        "charset": reply.charset.value,
        "charset_in_words": name(reply.charset, SKIN),
        "why_no_answer": shown(str(reply.read)) if isinstance(reply.read, Exception) else None,
        "item_count": len(reply.items),
        "items": [
            {
                "key": shown(item.key),
                "about": shown(reply.order_of(report)),
                "fault": shown(report.fault and detail_text(report.fault, SKIN)),
                "fields": [
                    {"key": shown(key), "value": shown(words_of(held), key), "is_read": _is_read(key, report)}
                    for key, held in item.fields.items()
                ],
            }
            for item, report in zip(reply.items, reply.reports, strict=True)
        ],
        "orders": [
            {
                "polled_id": shown(polled_id),
                "effect": verdict and verdict.effect.name.lower(),
                "attention": verdict and verdict.attention and verdict.attention.value,
                "in_words": shown(proof_in_words(verdict, SKIN)),
            }
            for polled_id, verdict in reply.verdicts.items()
        ],
        "assumptions": [
            {"number": int(one), "name": one.name.lower(), "standing": standing.value, "in_words": name(one, SKIN)}
            for one, standing in standings(reply).items()
        ],
    }


def _is_read(key: str, report: Report) -> bool:
    is_no_amount = report.ori_amount is not None and read_amount(report.ori_amount) is None
    return is_known_key(key) and not (is_no_amount and key.casefold() == "oriamount")


def print_explanation(response: Mapping[str, Any]) -> None:
    """Print an explanation for a person."""
    out = console()
    read_as = {"shape": response["shape_in_words"], "charset": response["charset_in_words"]}
    print_fields(out, {**read_as, "no_answer": response["why_no_answer"], "items": response["item_count"]})
    out.print()
    for number, item in enumerate(response["items"], start=1):
        where = "" if item["key"] is None else text(", under the key %(key)s", item["key"])
        order = item["about"] or text("an order that was not polled")
        fault = text(". Nothing of it is believed: %(fault)s", item["fault"]) if item["fault"] else ""
        rows = [{**one, "use": text("is read") if one["is_read"] else text("ignored")} for one in item["fields"]]
        title = text("Item %(number)s%(where)s, about %(order)s", number, where, order) + fault
        print_table(out, ("key", "value", "use"), rows, title=title, long_texts=("value",))
    if response["orders"]:
        rows = [{"order": one["polled_id"], "proves": one["in_words"]} for one in response["orders"]]
        print_table(
            out, ("order", "proves"), rows, title=text("What it proves"), ids=("order",), long_texts=("proves",)
        )
    rows = [
        {**one, "standing": word_of(Standing, one["standing"]), "assumption": one["in_words"]}
        for one in response["assumptions"]
    ]
    title = text("Assumptions of docs/platform.md")
    print_table(out, ("number", "standing", "assumption"), rows, title=title, long_texts=("assumption",))
