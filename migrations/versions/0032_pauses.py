"""A pause of an account, planned or not, is a row of `account_pauses` and no longer four columns of `account_states`.

Pauses and plans are moved. The way down keeps, for each account, the pause that ends last among those that have begun,
and the next plan. It loses the other pauses and plans, and which act made a pause. Stop all workers first, in both
directions: the release before reads and writes the columns.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import LongText, RowId, UtcDateTime

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_NOW = ("paused_at", "paused_until", "paused_by", "pause_reason")
_PLANNED = ("planned_from", "planned_until", "planned_by", "planned_reason")
_KINDS: tuple[Any, ...] = (UtcDateTime(), UtcDateTime(), sa.String(64), LongText)
_STATES = sa.table(
    "account_states",
    sa.column("account", sa.String),
    sa.column("has_pauses", sa.Boolean),
    *(sa.column(name, kind) for names in (_NOW, _PLANNED) for name, kind in zip(names, _KINDS, strict=True)),
)
_PAUSES = sa.table(
    "account_pauses",
    sa.column("account", sa.String),
    sa.column("act_key", sa.String),
    sa.column("is_planned", sa.Boolean),
    *(sa.column(name, kind) for name, kind in zip(_NOW, _KINDS, strict=True)),
)
_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}


def upgrade() -> None:
    op.create_table(
        "account_pauses",
        sa.Column("id", RowId, nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("paused_at", UtcDateTime(), nullable=False),
        sa.Column("paused_until", UtcDateTime(), nullable=True),
        sa.Column("paused_by", sa.String(64), nullable=True),
        sa.Column("pause_reason", LongText, nullable=True),
        sa.Column("act_key", sa.String(32), nullable=False),
        sa.Column("is_planned", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_pauses")),
        **_UTF8MB4_BIN,
        **_goes_on("if_not_exists"),
    )
    op.create_index(op.f("ix_account_pauses_account"), "account_pauses", ["account"], **_goes_on("if_not_exists"))
    has_pauses: sa.Column[bool] = sa.Column("has_pauses", sa.Boolean(), nullable=False, server_default="0")
    op.add_column("account_states", has_pauses, **_goes_on("if_not_exists"))
    for names, is_planned in ((_NOW, False), (_PLANNED, True)):
        if goes_on := _goes_on("if_not_exists"):
            # An interrupted run has dropped some of them, the first one first: it is empty then, and nothing is moved.
            for name, kind in zip(names, _KINDS, strict=True):
                op.add_column("account_states", sa.Column(name, kind, nullable=True), **goes_on)
        _move(names, is_planned)
        for name in names:
            op.drop_column("account_states", name, **_goes_on("if_exists"))


def downgrade() -> None:
    for name, kind in zip((*_NOW, *_PLANNED), (*_KINDS, *_KINDS), strict=True):
        op.add_column("account_states", sa.Column(name, kind, nullable=True), **_goes_on("if_not_exists"))
    connection, now, pauses = op.get_bind(), datetime.now(UTC), _PAUSES.c
    if not sa.inspect(connection).has_table(_PAUSES.name):
        # Only on MariaDB: an interrupted run has moved them.
        return
    begun = ~pauses.is_planned | (pauses.paused_at <= now)
    # The last row of each account counts: of pauses that have begun the one that ends last, of plans the next one.
    endless = sa.case((pauses.paused_until.is_(None), 1), else_=0)
    for names, wanted, order in (
        (_NOW, begun, (endless, pauses.paused_until)),
        (_PLANNED, ~begun, (pauses.paused_at.desc(),)),
    ):
        kept = sa.select(pauses.account, *(pauses[name] for name in _NOW)).where(wanted).order_by(*order)
        for account, *values in connection.execute(kept).all():
            of_account = sa.update(_STATES).where(_STATES.c.account == account)
            connection.execute(of_account.values(dict(zip(names, values, strict=True))))
    op.drop_column("account_states", "has_pauses", **_goes_on("if_exists"))
    op.drop_table("account_pauses", **_goes_on("if_exists"))


def _move(names: tuple[str, ...], is_planned: bool) -> None:
    """Copy the pauses that these columns hold; those that an interrupted run has copied are there already."""
    of_account = (_PAUSES.c.account == _STATES.c.account) & (_PAUSES.c.is_planned == sa.literal(is_planned))
    held = _STATES.c[names[0]].is_not(None) & ~sa.exists().where(of_account)
    columns = [_STATES.c[name] for name in names]
    rows = sa.select(_STATES.c.account, *columns, sa.literal("revision 0032"), sa.literal(is_planned)).where(held)
    op.execute(sa.insert(_PAUSES).from_select(["account", *_NOW, "act_key", "is_planned"], rows))
    op.execute(sa.update(_STATES).where(_STATES.c[names[0]].is_not(None)).values(has_pauses=sa.true()))


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already, on MariaDB."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
