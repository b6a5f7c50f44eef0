"""How PostgreSQL stores the tables that every pass writes to; other databases have no such settings.

A slot's row and an account's are written at each pass, and no index holds the changed columns: where a page has free
space, the new version is written there without touching an index. The orders are vacuumed when a fiftieth of them is
dead, not a fifth: of 10,000,000 that would be two million, and the index of due orders would lead to them all. By
default such a vacuum would skip the indexes, as the dead rows are in less than a fiftieth of the pages.
The settings change neither rows nor what a release reads; they apply to pages that are written from now on.
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
