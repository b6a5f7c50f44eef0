from worker.domain.records.reports import Answer, IdKind, Report


def test_the_id_kinds_are_the_requests_field_names() -> None:
    assert [kind.value for kind in IdKind] == ["requestId", "customParm"]


def test_an_answer_counts_all_its_items_polled_or_not() -> None:
    answer = Answer(said={"R1": (Report(), Report(remark="x"))}, absent=("R2",), added=(Report(),))
    assert answer.item_count == 3
