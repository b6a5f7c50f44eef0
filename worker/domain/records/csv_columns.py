"""The columns of the lists as CSV. The command line and the console write the same columns.

Spreadsheets may refer to columns by position, so a new column must be the last.
"""

ORDERS = (
    *("id", "account", "request_id", "custom_parm", "mobile", "state", "attention", "expected_amount", "ori_amount"),
    *("remark", "settled_by", "submitted_at", "queried_at", "query_count", "settled_at"),
    "amount_is_price",
)
ORDERS_FOR_PEOPLE = (
    *("submitted_at", "settled_at", "account", "request_id", "custom_parm", "mobile", "state", "attention", "due"),
    *("charged", "difference", "remark", "settled_by", "queried_at", "query_count", "id"),
)
"""The columns of orders in XLSX files. `worker.domain.finance.report` defines `due`, `charged` and `difference`."""
QUERIES = (
    *("id", "account", "id_kind", "order_count", "sent_at", "answered_at", "outcome", "http_status", "status_code"),
    *("status_msg", "settled_count", "pending_count", "absent_count", "spare_count"),
)
NOTIFICATIONS = (
    *("id", "event_id", "account", "order_id", "request_id", "custom_parm", "type", "version", "rank", "changed_at"),
    *("state", "due_at", "tries", "tried_at", "outcome", "http_status", "answer", "delivered_at"),
)
REJECTED = ("id", "received_at", "source", "repeats", "errors", "payload", "is_open")
UNMATCHED = ("id", "received_at", "account", "request_id", "custom_parm", "trust", "payload", "repeats")
ACTS = ("id", "at", "actor", "act", "account", "detail", "reason", "orders", "act_key")
TODO = ("kind", "reason", "account", "ref", "id", "since", "until", "note", "what_to_do")
