"""Which pages of the index of due orders a choice reads."""

from tests.unit.domain.builders import NOW
from worker.domain.index_ranges import INDEX_RANGES, first_pages, next_pages
from worker.domain.records.accounts import AccountState
from worker.domain.records.orders import Lane
from worker.domain.records.parameters import Rules
from worker.domain.records.reports import IdKind
from worker.domain.scheduling.ages import BUCKETS
from worker.domain.scheduling.fill_batch import PAGE_SIZE

RULES = Rules()
ECHOES = AccountState(account="default", echoes_custom_parm=True)
BLIND = AccountState(account="default")


def test_the_first_page_of_each_range_is_read_and_the_last_where_batches_are_chosen() -> None:
    pages = first_pages(ECHOES, NOW, RULES)
    assert [index_range for index_range, _ in pages.first] == list(INDEX_RANGES)
    assert {index_range for index_range, _ in pages.last} == {
        (Lane.BATCH, kind, bucket) for kind in IdKind for bucket in range(1, BUCKETS)
    }
    assert pages.checked == RULES.batch_size


def test_orders_that_were_never_polled_may_fill_a_batch_and_other_buckets_give_a_page() -> None:
    most = dict(first_pages(ECHOES, NOW, RULES).first)
    assert most[Lane.BATCH, IdKind.REQUEST_ID, 0] == RULES.batch_size
    assert most[Lane.BATCH, IdKind.CUSTOM_PARM, 5] == PAGE_SIZE


def test_of_orders_that_are_polled_one_by_one_the_first_is_enough() -> None:
    pages = first_pages(BLIND, NOW, RULES)
    most = dict(pages.first)
    assert {most[each] for each in INDEX_RANGES if each[0] is not Lane.BATCH or each[1] is IdKind.CUSTOM_PARM} == {1}
    assert {kind for (_, kind, _), _ in pages.last} == {IdKind.REQUEST_ID}


def test_the_next_page_holds_as_many_as_a_batch() -> None:
    pages = next_pages(((IdKind.REQUEST_ID, 3),), RULES)
    assert (pages.first, pages.last, pages.checked) == (
        (((Lane.BATCH, IdKind.REQUEST_ID, 3), RULES.batch_size),),
        (),
        0,
    )


def test_the_same_pages_are_the_same_object_so_that_their_statement_is_made_once() -> None:
    assert first_pages(ECHOES, NOW, RULES) is first_pages(ECHOES, NOW, Rules(window_seconds=5.0))
    assert next_pages(((IdKind.REQUEST_ID, 3),), RULES) is next_pages(((IdKind.REQUEST_ID, 3),), Rules())
