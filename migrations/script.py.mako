"""${message}."""

# Made by: alembic revision --autogenerate --rev-id 0002 -m "Say what it adds"; then make format.
# The rules; delete this list when they are kept:
# - Three databases: PostgreSQL, MariaDB and SQLite run the same file. Column types that differ between them come from
#   worker.database.column_types; SQLite alters a table only inside `with op.batch_alter_table(...)`.
# - Spell columns, constraints and indexes out here; never import the tables, which will have moved on.
# - Every constraint and index has a name: the naming convention's of worker/database/tables.py, as op.f("...").
# - A new table carries the utf8mb4_bin options of revision 0001; an index that is partial there has its
#   postgresql_where and sqlite_where here.
# - Up and down, and no difference from the tables afterwards: tests/integration/test_migrations.py.
# - Old workers run while this does. Add first, use in the next release, remove in the one after; a new NOT NULL column
#   needs a server default.
# - The session gives up on a table's lock after five seconds (worker.database.migrations): keep each statement
#   short. On a large table PostgreSQL makes an index with postgresql_concurrently=True inside
#   `with op.get_context().autocommit_block():`, in a revision of its own.
# - MariaDB cannot roll a schema change back. Its revisions must go on from where they died: if_not_exists, if_exists.

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
