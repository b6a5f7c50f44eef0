"""What operators need: acts with a name, the last tick of each worker process, and indexes to find and count orders.

The archive learns the phone number and the time of submission of its orders, from their records.

On PostgreSQL the ids of orders get the collation "C". In the database's own one (most often a language's) ids that
begin alike may stand apart in the index, so neither a range nor LIKE could use it for the start of an id. Only
the indexes of the ids are built again, no table is written.

On the way down the acts and the names are lost, which is refused while there are any: export them first
(`reconciler acts --csv`), then delete them.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.exc import NotSupportedError

from worker.database.column_types import LongText, RowId, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}
# Name of an index: its table, its columns, and which rows it holds where a database has partial indexes.
_INDEXES: dict[str, tuple[str, list[str], str | None]] = {
    "ix_recharge_orders_mobile": ("recharge_orders", ["mobile"], None),
    "ix_recharge_orders_submitted": ("recharge_orders", ["submitted_at", "id"], None),
    "ix_recharge_orders_settled": (
        "recharge_orders",
        ["settled_at", "account", "state", "settled_by"],
        "settled_at IS NOT NULL",
    ),
    "ix_recharge_orders_attention": ("recharge_orders", ["attention", "id"], "attention IS NOT NULL"),
    "ix_recharge_orders_unresolved": ("recharge_orders", ["state", "account", "submitted_at"], "state = 'unresolved'"),
    "ix_archived_orders_mobile": ("archived_orders", ["mobile"], None),
    "ix_archived_orders_submitted": ("archived_orders", ["submitted_at", "id"], None),
    "ix_archived_orders_settled": ("archived_orders", ["settled_at", "id"], None),
    "ix_operator_acts_account": ("operator_acts", ["account", "id"], None),
}
# The record holds a time as ISO 8601 in UTC.
_FROM_RECORD = {
    "postgresql": (
        "record::json #>> '{order,mobile}'",
        "(record::json #>> '{order,submitted_at}')::timestamptz",
    ),
    "sqlite": (
        "json_extract(record, '$.order.mobile')",
        # As SQLAlchemy writes a time there: with a blank, and always with microseconds.
        "substr(replace(replace(json_extract(record, '$.order.submitted_at'), 'T', ' '), '+00\\:00', '')"
        " || CASE WHEN json_extract(record, '$.order.submitted_at') LIKE '%.%' THEN '' ELSE '.000000' END, 1, 26)",
    ),
    "mariadb": (
        "JSON_VALUE(record, '$.order.mobile')",
        "CAST(REPLACE(REPLACE(JSON_VALUE(record, '$.order.submitted_at'), 'T', ' '), '+00\\:00', '') AS DATETIME(6))",
    ),
}
_FROM_RECORD["mysql"] = _FROM_RECORD["mariadb"]


def _columns() -> list[tuple[str, sa.Column[Any]]]:
    return [
        ("recharge_orders", sa.Column("reopened_at", UtcDateTime())),
        ("recharge_orders", sa.Column("dismissed_at", UtcDateTime())),
        ("order_events", sa.Column("actor", sa.String(64))),
        ("account_states", sa.Column("paused_until", UtcDateTime())),
        ("account_states", sa.Column("paused_by", sa.String(64))),
        ("account_states", sa.Column("pause_reason", LongText)),
        ("archived_orders", sa.Column("mobile", sa.String(11))),
        ("archived_orders", sa.Column("submitted_at", UtcDateTime())),
    ]


def upgrade() -> None:
    for table, column in _columns():
        op.add_column(table, column, **_goes_on("if_not_exists"))
    mobile, submitted_at = _FROM_RECORD[op.get_context().dialect.name]
    op.execute(
        sa.text(f"UPDATE archived_orders SET mobile = {mobile}, submitted_at = {submitted_at}")  # noqa: S608  # our own text
    )
    op.create_table(
        "operator_acts",
        sa.Column("id", RowId, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("act", sa.String(32), nullable=False),
        sa.Column("account", sa.String(64)),
        sa.Column("reason", LongText),
        sa.Column("detail", LongText),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_acts")),
        **_goes_on("if_not_exists"),
        **_UTF8MB4_BIN,
    )
    op.create_table(
        "worker_processes",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("host", sa.String(128), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("last_tick_at", UtcDateTime()),
        sa.Column("written_at", UtcDateTime(), nullable=False),
        sa.Column("clock_offset_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker_processes")),
        postgresql_with={"fillfactor": "50"},
        **_goes_on("if_not_exists"),
        **_UTF8MB4_BIN,
    )
    for name, (table, columns, held) in _INDEXES.items():
        condition = None if held is None else sa.text(held)
        op.create_index(
            name, table, columns, postgresql_where=condition, sqlite_where=condition, **_goes_on("if_not_exists")
        )
    _set_collation_of_ids("C")


def downgrade() -> None:
    _refuse_to_lose_acts()
    # The release before knows neither kind, and no end of a pause. The detail of an event says what happened.
    op.execute("UPDATE order_events SET kind = 'ignored' WHERE kind IN ('reopened', 'dismissed')")
    ended = sa.table("account_states", sa.column("paused_at"), sa.column("paused_until", UtcDateTime()))
    op.execute(sa.update(ended).where(ended.c.paused_until <= datetime.now(UTC)).values(paused_at=None))
    _set_collation_of_ids("default")
    for name, (table, _, _) in reversed(_INDEXES.items()):
        if table != "operator_acts":
            op.drop_index(name, table, **_goes_on("if_exists"))
    # Their own indexes go with them.
    for table in ("worker_processes", "operator_acts"):
        op.drop_table(table, **_goes_on("if_exists"))
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name, **_goes_on("if_exists"))


def _set_collation_of_ids(collation: str) -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table in ("recharge_orders", "archived_orders"):
        try:
            op.execute(
                f'ALTER TABLE {table} ALTER COLUMN request_id TYPE varchar(64) COLLATE "{collation}",'
                f' ALTER COLUMN custom_parm TYPE varchar(64) COLLATE "{collation}"'
            )
        except NotSupportedError as error:
            raise CommandError(
                f"a view reads the ids of {table}, and PostgreSQL changes no column of a view: drop the view, migrate,"
                " make it again"
            ) from error


def _refuse_to_lose_acts() -> None:
    if not sa.inspect(op.get_bind()).has_table("operator_acts"):
        return
    held = sa.text("SELECT id FROM archived_orders WHERE record LIKE :event LIMIT 1")
    for event in ('%"kind":"reopened"%', '%"kind":"dismissed"%', '%"actor":"%'):
        if op.get_bind().scalar(held, {"event": event}) is not None:
            raise CommandError(
                "archived_orders holds acts of operators, which the release before does not know:"
                " run `reconciler archive --restore` first, then migrate down again"
            )
    if op.get_bind().scalar(sa.text("SELECT id FROM operator_acts LIMIT 1")) is not None:
        raise CommandError(
            "operator_acts holds acts, which the release before does not know: keep a copy (`reconciler acts --csv`),"
            " delete its rows, then migrate down again"
        )


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
