"""How PostgreSQL keeps the tables that every pass writes to; nothing else knows these settings.

A slot's row and an account's are written at each pass, and no index holds what changes: in a page with room left, the
new version replaces the old one without touching an index. Of the orders a fiftieth part may be dead before they are
vacuumed, not a fifth: of 10,000,000 that would be two million, and the index of what is due would lead to them all. By
itself such a vacuum would leave the indexes alone, as the dead rows stand in less than a fiftieth of the pages.
A setting changes neither rows nor what a release reads; the room is left in pages that are written from here on.
"""

from collections.abc import Mapping

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "recharge_orders": {
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_analyze_scale_factor": "0.02",
        "vacuum_index_cleanup": "on",
    },
    "query_budgets": {"fillfactor": "50"},
    "account_states": {"fillfactor": "50"},
}


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, settings in _SETTINGS.items():
        op.execute(f"ALTER TABLE {table} SET ({', '.join(f'{name} = {value}' for name, value in settings.items())})")


def downgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, settings in _SETTINGS.items():
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(settings)})")
