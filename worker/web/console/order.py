"""One order's story: what it is, what happens next, what a person has to do, and everything that happened to it."""

from flask import Blueprint, abort, render_template

from worker.database.transactions import Database
from worker.domain.records.orders import OrderState
from worker.domain.todo import TodoKind
from worker.domain.workers import tick_allowance
from worker.runtime import rules_of, sids_of
from worker.settings import Settings
from worker.views.order import Story, order_by_id, read_story
from worker.web.console.filters import storable
from worker.web.console.guidance import GUIDANCE, Guidance
from worker.web.console.languages import text
from worker.web.console.next_steps import STATES, next_in_words, wait_in_words


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/orders/N`."""
    rules, sids = rules_of(settings), sids_of(settings)
    allowance = tick_allowance(settings.check_tick_seconds, settings.tick_seconds)

    @routes.get("/orders/<int:order_id>")
    def order(order_id: int) -> str:
        with database.snapshot() as connection:
            found = order_by_id(connection, storable(order_id))
        if found is None:
            abort(404)
        story = read_story(database, found, sids, allowance, rules)
        outlook = story.outlook
        return render_template(
            "console/order.html",
            story=story,
            order=story.order,
            state_in_words=text(STATES[found["state"]]),
            next_in_words=None if outlook is None else next_in_words(outlook),
            waits=[] if outlook is None else [wait_in_words(step, outlook, rules) for step in outlook.next_step.steps],
            guidance=_guidance(story),
        )


def _guidance(story: Story) -> Guidance | None:
    """What a person has to do about it; None where it needs nobody."""
    if story.order["attention"] is not None:
        return GUIDANCE[story.order["attention"]]
    return GUIDANCE[TodoKind.UNRESOLVED] if story.order["state"] is OrderState.UNRESOLVED else None
