"""New names for the worker's own columns and tables: polls, age buckets, observations, batch failures.

Only names change: of columns, of two tables, and of keys in the JSON that these tables hold. Stop all workers first:
the release before does not know the new names.

Records of the archive keep the names that they were written with; they are restored under the present names. The
release before cannot do that, so a downgrade writes its names into the records, each of them once.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import LongText, RowId, UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("recharge_orders", "look_group", "age_bucket"),
    ("recharge_orders", "bad_ends", "batch_failures"),
    ("platform_queries", "asked_ids", "polled_ids"),
)
_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}
Copied = sa.ColumnElement[str]


def upgrade() -> None:
    for table, old, new in _COLUMNS:
        _rename_column(table, old, new)
    _create_schedules("poll_schedules", "schedule", "computed_at")
    learned, schedule = (
        _with_key("learned", "open_looks", "open_polls"),
        _with_key("prices", "last_looks", "last_polls"),
    )
    _move("account_prices", "poll_schedules", learned=learned, schedule=schedule, computed_at=sa.column("priced_at"))
    _create_observations("settlement_observations", "observations", "observed_at")
    observations = _with_key("notes", "looks", "polls")
    _move("settlement_notes", "settlement_observations", observed_at=sa.column("noted_at"), observations=observations)


def downgrade() -> None:
    _create_observations("settlement_notes", "notes", "noted_at")
    notes = _with_key("observations", "polls", "looks")
    _move("settlement_observations", "settlement_notes", noted_at=sa.column("observed_at"), notes=notes)
    _create_schedules("account_prices", "prices", "priced_at")
    learned, prices = (
        _with_key("learned", "open_polls", "open_looks"),
        _with_key("schedule", "last_polls", "last_looks"),
    )
    _move("poll_schedules", "account_prices", learned=learned, prices=prices, priced_at=sa.column("computed_at"))
    record = _with_key(_with_key("record", "age_bucket", "look_group"), "batch_failures", "bad_ends")
    op.execute(sa.update(sa.table("archived_orders", sa.column("record"))).values(record=record))
    for table, old, new in reversed(_COLUMNS):
        _rename_column(table, new, old)


def _with_key(text: str | Copied, old: str, new: str) -> Copied:
    """A JSON text with another name for a key that is not its first. The pattern matches no text inside a string, as
    each quote there has a backslash before it."""
    column = sa.column(text) if isinstance(text, str) else text
    return sa.func.replace(column, f',"{old}":', f',"{new}":')


def _rename_column(table: str, old: str, new: str) -> None:
    if _is_mariadb() and old not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}:
        return
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def _move(source: str, target: str, **columns: Copied) -> None:
    """Copy the rows of a table, and drop it. Rows keep their account, and their order."""
    if _is_mariadb() and not sa.inspect(op.get_bind()).has_table(source):
        return
    names = ("account", *columns)
    # A drop commits what came before it on MariaDB: rows that are there already come from a run that was interrupted.
    is_empty = ~sa.exists(sa.select(sa.literal(1)).select_from(sa.table(target)))
    held: list[sa.ColumnElement[Any]] = [sa.column("account"), *columns.values()]
    rows = sa.select(*held).select_from(sa.table(source)).where(is_empty)
    order = "id" if source.startswith("settlement_") else "account"
    copied = sa.table(target, *map(sa.column, names))
    op.execute(sa.insert(copied).from_select(names, rows.order_by(sa.column(order))))
    op.drop_table(source)


def _create_schedules(table: str, schedule: str, computed_at: str) -> None:
    op.create_table(
        table,
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("learned", LongText, nullable=False),
        sa.Column(schedule, LongText, nullable=False),
        sa.Column(computed_at, UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f(f"pk_{table}")),
        if_not_exists=_is_mariadb(),
        **_UTF8MB4_BIN,
    )


def _create_observations(table: str, observations: str, observed_at: str) -> None:
    op.create_table(
        table,
        sa.Column("id", RowId, nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column(observed_at, UtcDateTime(), nullable=False),
        sa.Column(observations, LongText, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        if_not_exists=_is_mariadb(),
        **_UTF8MB4_BIN,
    )
    op.create_index(op.f(f"ix_{table}_account"), table, ["account", "id"], if_not_exists=_is_mariadb())


def _is_mariadb() -> bool:
    """Whether to skip steps that are done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return bool(getattr(op.get_context().dialect, "is_mariadb", False))
