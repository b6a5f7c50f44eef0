"""`reconciler check`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from worker.adapters.wording import one_line
from worker.cli.output import AsJson, counted, print_json
from worker.cli.references import Account, References, find_orders

_AT_ONCE = 500


def check(refs: References, account: Account = "default", as_json: AsJson = False) -> None:
    """Poll these orders next, within the same budget; what is not pending is refused.

    Exit status 1 when one was refused.
    """
    from worker.cli.session import session
    from worker.intake import Intake
    from worker.runtime import app_ids_of, rules_of

    refused: list[dict[str, object]] = []
    queued = 0
    with session(needs_accounts=True) as opened:
        settings = opened.settings
        intake = Intake(opened.database, rules_of(settings), app_ids_of(settings))
        for part in _parts(refs):
            found = find_orders(opened, account, part)
            # By the row: an order that is named by both its ids is polled once.
            known = {row["id"]: (ref, row) for ref, row in found.items() if not isinstance(row, str)}
            refused.extend({"ref": ref, "errors": [why]} for ref, why in found.items() if isinstance(why, str))
            if known:
                answer: Any = intake.check_orders(
                    [_reference(row) for _, row in known.values()], source="reconciler check"
                )
                queued += answer["queued"]
                names = [ref for ref, _ in known.values()]
                refused.extend({"ref": names[one["index"]], "errors": one["errors"]} for one in answer["rejected"])
    if as_json:
        print_json({"queued": queued, "rejected": refused})
    else:
        _show(queued, refused)
    raise typer.Exit(1 if refused else 0)


def _parts(refs: Sequence[str]) -> Iterable[Sequence[str]]:
    return (refs[start : start + _AT_ONCE] for start in range(0, len(refs), _AT_ONCE))


def _reference(row: Mapping[str, Any]) -> dict[str, object]:
    kind = "request_id" if row["request_id"] is not None else "custom_parm"
    return {"account": row["account"], kind: row[kind]}


def _show(queued: int, refused: Iterable[Mapping[str, Any]]) -> None:
    for one in refused:
        typer.echo(f"Refused: {one_line(one['ref'])}: {one_line('; '.join(one['errors']))}", err=True)
    typer.echo(f"{counted(queued, 'order')} will be polled next.")
