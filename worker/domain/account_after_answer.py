"""What a readable answer teaches about its account: the platform answers, and in which way."""

from dataclasses import dataclass, replace
from datetime import timedelta

from worker.domain.answer_items import AnswerContext
from worker.domain.back_off import end_back_off
from worker.domain.outages import count_answer
from worker.domain.platform_habits import learn_echo, learn_one_item
from worker.domain.records.accounts import AccountState
from worker.domain.records.queries import Query
from worker.domain.records.reports import IdKind


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountLessons:
    """An account after an answer, and what follows for orders that this answer does not name."""

    state: AccountState
    reset_absences_since: int | None
    """From this query on, what one-item answers left out was not absent; None where nothing changes."""
    return_suspects: tuple[int, int] | None
    """The first and the last group of suspects that an outage made, which go back to the batches."""


def learn_about_account(context: AnswerContext) -> AccountLessons:
    """What an answer teaches about its account."""
    query, answer, now, rules = context.query, context.answer, context.now, context.rules
    state = _count_answer(context)
    state = learn_echo(state, query, answer, now, rules, has_believed_echo=context.has_believed_echo)
    state, reset_absences_since = learn_one_item(state, query, answer, now, rules)
    state, return_suspects = count_answer(state, now, rules)
    return AccountLessons(state=state, reset_absences_since=reset_absences_since, return_suspects=return_suspects)


def _count_answer(context: AnswerContext) -> AccountState:
    query, state = context.query, context.state
    by_request_id = query.id_kind is IdKind.REQUEST_ID
    return replace(
        state if _backed_off_since(state, query) else end_back_off(state),
        answered_with_items=state.answered_with_items + bool(context.answer.item_count),
        answered_with_belief=context.answers_with_belief,
        answered_by_request_id=state.answered_by_request_id + by_request_id,
        answered_by_custom_parm=state.answered_by_custom_parm + (not by_request_id),
    )


def _backed_off_since(state: AccountState, query: Query) -> bool:
    """Whether the back-off began after the query was sent: then its answer is older news, of another slot."""
    if state.backoff_until is None:
        return False
    return state.backoff_until - timedelta(seconds=state.backoff_seconds) > query.sent_at
