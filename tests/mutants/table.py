"""The mutants: which tests kill one (names of test files), a text of the code, and what it is changed into.

A text stands in one file of `worker/`, once, wherever that file is.
"""

MUTANTS: tuple[tuple[str, str, str], ...] = (
    # What an item proves, and what that changes of an order.
    ("verdicts", "amount is not None and amount > 0)", "amount is not None and amount >= 0)"),
    ("verdicts", "return by_request_id and by_custom_parm", "return by_request_id or by_custom_parm"),
    ("verdicts", "return by_custom_parm if polled_by is IdKind", "return by_request_id if polled_by is IdKind"),
    ("verdicts", "if is_callback and not report.has_amount_field:", "if is_callback:"),
    ("verdicts", "order.expected_amount != amount:", "order.expected_amount > amount:"),
    (
        "verdicts",
        "if echoes_price and amount and order.expected_amount in (None, amount):",
        "if echoes_price and amount:",
    ),
    ("verdicts", "is_due_now=polled_by is None,", "is_due_now=False,"),
    ("verdicts", 'denies_order(report.remark or "", shows_number=shows_number)', "denies_order('', shows_number=True)"),
    ("denials", "(_OF_AN_ORDER,) if shows_number", "(_OF_AN_ORDER, _OF_SOMETHING) if shows_number"),
    ("settlement", "if verdict.amount is None or verdict.amount == (", "if verdict.amount is None or 0 == ("),
    ("settlement", "Attention.REJECTED_BY_PLATFORM, Attention.TOO_OLD}", "Attention.REJECTED_BY_PLATFORM}"),
    ("settlement", "replace(order, due_at=min(order.due_at, now))", "replace(order, due_at=now)"),
    ("settlement", "gravest(_attention_left(order, verdict), verdict.attention)", "verdict.attention"),
    # When a slot may carry a query, and how long an account waits.
    (
        "slots_and_clocks",
        "return one_window - other_window > _ROUNDING_SECONDS",
        "return one_window - other_window > 0",
    ),
    ("slots_and_clocks", "if ahead <= 0:", "if ahead <= 1:"),
    (
        "slots_and_clocks",
        "return slot.boot_id == now.boot_id and written_at",
        "return slot.boot_id == now.boot_id or written_at",
    ),
    ("slots_and_clocks", "boot_due=slot.boot_due + more,", "boot_due=slot.boot_due,"),
    (
        "slots_and_clocks",
        "return max(slot.wait_seconds, rules.reservation_seconds)",
        "return rules.reservation_seconds",
    ),
    ("slots_and_clocks", "- boot < deadline_seconds / 3", "- boot < deadline_seconds / 2"),
    ("another_database slots_and_clocks", "(*written_in.changes, now)[-TOO_MANY:]", "(now,)"),
    ("waits", "min(2**state.backoff_level * (1 + jitter / 10), LONGEST", "min(2**state.backoff_level, LONGEST"),
    ("waits", "min(at_least, LONGEST_RETRY_AFTER_WINDOWS * rules.window_seconds)", "at_least"),
    ("waits", "kept = min(until, requested)", "kept = requested"),
    (
        "back_off",
        "answers < ANSWERS_AFTER_AN_OUTAGE or is_too_soon",
        "answers < ANSWERS_AFTER_AN_OUTAGE and is_too_soon",
    ),
    # Which orders a query polls, and what its end says of them.
    ("choose_batch", "passed_over[kind] >= EACH_KIND_EVERY - 1", "passed_over[kind] >= EACH_KIND_EVERY"),
    ("choose_batch", "(state.turn + state.turn // 10) % 2 == 0", "state.turn % 2 == 0"),
    ("choose_batch", "accounts.index(last) + 1 if last in", "accounts.index(last) if last in"),
    ("choose_batch", "or is_tried or state.configuration_refused:", "or state.configuration_refused:"),
    (
        "pick_by_priority",
        "rules.window_seconds * SHORTEST_WAIT_WINDOWS, LEAST_WAIT_OF_AGE * age)",
        "0, LEAST_WAIT_OF_AGE * age)",
    ),
    ("pick_by_priority", "return limit // 2 if limit > 1", "return limit if limit > 1"),
    ("learning", "if lost_share > MOSTLY_LOST:", "if lost_share > 1:"),
    ("after_reply", "return order.mobile is not None and shows_mobile(", "return shows_mobile("),
    ("reply_items", "found[order_id] = found[holder] = Contradiction(", "found[order_id] = Contradiction("),
    ("platform_habits", "return change if answers_one_of_many else _give_up", "return _give_up"),
    ("after_reply", "return None if requested_at == granted else", "return"),
    (
        "after_reply",
        "state.backoff_until - timedelta(seconds=state.backoff_seconds) > query",
        "state.backoff_until > query",
    ),
    ("after_failure", "(len(changes) + 1) // 2 if was_group else len(changes)", "len(changes)"),
    ("after_failure", "state.answered_by_either > order.failure_mark_any", "state.answered_by_either >= 0"),
    ("giving_up", "answers_before > order.denial_mark", "answers_before >= order.denial_mark"),
    ("giving_up", "state.answered_with_items > order.absence_mark", "state.answered_with_items >= order.absence_mark"),
    (
        "giving_up",
        "_absent_from_batch(change, query, now) if answer.said else change",
        "_absent_from_batch(change, query, now)",
    ),
    ("giving_up", "is not None or order.dismissed_at is not None:", "is not None:"),
    ("platform_habits", "if answer.item_count or empty >= EMPTY", "if empty >= EMPTY"),
    # What operators, callbacks and billing systems do.
    ("operator_acts", "if is_settled_by_platform(order) and not force:", "if not force:"),
    (
        "operator_acts",
        "== (order.state, order.attention) and order.id not in changed",
        "== (order.state, order.attention)",
    ),
    ("operator_acts", "is_for_time = order.attention is Attention.TOO_OLD", "is_for_time = False"),
    ("bodies", "for order in orders if len(orders) == 1 else ():", "for order in orders:"),
    ("billing_requests", "if is_new and is_compared and", "if is_compared and"),
    ("check_fields", 'is not None and item.get("mobile") is None:', 'is None and item.get("mobile") is None:'),
    ("events", "return Rank.RESULT if orders == 1 else Rank.BULK", "return Rank.RESULT"),
    ("events", "version = change.before.next_version(now)", "version = change.before.version"),
    ("deliveries", "or due_at > now + longest + LATE_CLOCK", ""),
    ("resting_endpoints", "if self.endpoint.rest_from != one.claim.rest_from:", "if False:"),
    (
        "resting_endpoints",
        "if last_failed is not None and last_failed.id != one.claim.id:",
        "if last_failed is not None:",
    ),
    ("statements", "OrderState.FAILED and row.amount == order.echoed_price:", "OrderState.FAILED:"),
    ("report", "return self.start <= moment < self.end", "return self.start <= moment <= self.end"),
    ("report", "rank = ceil(", "rank = round("),
    # Transactions.
    ("write_back", "row is not None and row.in_flight_query_id != query.id", "False"),
    ("hold", 'query if row is not None else replace(query, token="")', "query"),
    ("many_passes", "if effects.backs_off_whole_sid:", "if False:"),
    ("grants", "mark_lost(connection, row.in_flight_query_id)", "pass"),
    ("grants", "return not state.is_paused(now.database) and not", "return not"),
    # Pauses of accounts.
    ("pauses", "if one.is_planned or begins is not None]", "if begins is not None]"),
    ("pauses", "return not self.is_planned or self.paused_at <= now", "return self.paused_at <= now"),
    ("pauses", "(*on, *plans[:1])", "(*on, *plans)"),
    ("planned_pauses", "if after.pauses != before.pauses:", "if False:"),
    ("cli_acts", "return begins and max(begins, now), ends", "return begins, ends"),
    # Who goes first where a slot opens.
    ("which_host_goes_first let_other_hosts_go_first", "{self.slot.number}/{self.last_token}", "{self.slot.number}/"),
    (
        "which_host_goes_first let_other_hosts_go_first",
        "names = sorted(one.name for one in first)",
        "names = [one.name for one in first]",
    ),
    (
        "which_host_goes_first let_other_hosts_go_first",
        "[one for one in well if not self._hesitates(one.host, accounts)] or well",
        "well",
    ),
    ("which_host_goes_first let_other_hosts_go_first", "tries >= _REFUSALS_BEFORE_CUT_OFF and state", "state"),
    (
        "which_host_goes_first let_other_hosts_go_first",
        "is_refusal and not all(order.lane.is_suspect for order in query.orders)",
        "is_refusal",
    ),
    (
        "which_host_goes_first let_other_hosts_go_first",
        "for row in refusals if not row.is_answered)",
        "for row in refusals)",
    ),
)
