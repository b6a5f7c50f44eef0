"""The database's own history of the orders: triggers record each row's insert, changes and delete.

The triggers see what was done, whatever a program writes about it.
"""

import sqlalchemy
from sqlalchemy import Connection

_COLUMNS = "order_id, old_state, new_state, old_result, new_result, old_attention, new_attention"
_INSERT = f"INSERT INTO order_history ({_COLUMNS}) VALUES"
_RESULT = "concat_ws('/', {row}.traffic_sts, {row}.ori_amount, {row}.remark)"
_RESULT_SQLITE = (
    "coalesce({row}.traffic_sts, '') || '/' || coalesce({row}.ori_amount, '') || '/' || coalesce({row}.remark, '')"
)
_ATTENTION_DIFFERS = "coalesce(OLD.attention, '') <> coalesce(NEW.attention, '')"


def install(url: str) -> None:
    """Begin the history of a migrated database."""
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        kind = engine.dialect.name
        serial = {
            "postgresql": "BIGSERIAL PRIMARY KEY",
            "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
        }.get(kind, "BIGINT AUTO_INCREMENT PRIMARY KEY")
        connection.exec_driver_sql(
            f"CREATE TABLE order_history (id {serial}, order_id BIGINT NOT NULL, old_state VARCHAR(16),"
            " new_state VARCHAR(16), old_result TEXT, new_result TEXT, old_attention VARCHAR(32),"
            " new_attention VARCHAR(32))"
        )
        if kind == "postgresql":
            _install_postgresql(connection)
        else:
            _install_rowwise(connection, _RESULT_SQLITE if kind == "sqlite" else _RESULT)
    engine.dispose()


def _install_postgresql(connection: Connection) -> None:
    on_insert, on_delete, on_update, differs = _changes(_RESULT)
    connection.exec_driver_sql(
        f"""CREATE FUNCTION record_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'INSERT' THEN {on_insert}
        ELSIF TG_OP = 'DELETE' THEN {on_delete}
        ELSIF {differs} THEN {on_update}
        END IF; RETURN NULL; END $$"""
    )
    connection.exec_driver_sql(
        "CREATE TRIGGER record_changes AFTER INSERT OR UPDATE OR DELETE ON recharge_orders"
        " FOR EACH ROW EXECUTE FUNCTION record_change()"
    )


def _install_rowwise(connection: Connection, result: str) -> None:
    on_insert, on_delete, on_update, differs = _changes(result)
    for event, body in (("INSERT", on_insert), ("DELETE", on_delete), ("UPDATE", on_update)):
        head = f"CREATE TRIGGER record_{event.lower()} AFTER {event} ON recharge_orders FOR EACH ROW"
        if event == "UPDATE":
            is_sqlite = connection.dialect.name == "sqlite"
            body = f"WHEN {differs} BEGIN {body} END" if is_sqlite else f"BEGIN IF {differs} THEN {body} END IF; END"
        else:
            body = f"BEGIN {body} END"
        connection.exec_driver_sql(f"{head} {body}".replace("%", "%%"))


def _changes(result: str) -> tuple[str, str, str, str]:
    """What records an insert, a delete and an update, and whether an update changed anything that is recorded."""
    old, new = result.format(row="OLD"), result.format(row="NEW")
    return (
        f"{_INSERT} (NEW.id, NULL, NEW.state, NULL, {new}, NULL, NEW.attention);",
        f"{_INSERT} (OLD.id, OLD.state, NULL, {old}, NULL, OLD.attention, NULL);",
        f"{_INSERT} (NEW.id, OLD.state, NEW.state, {old}, {new}, OLD.attention, NEW.attention);",
        f"OLD.state <> NEW.state OR {old} <> {new} OR {_ATTENTION_DIFFERS}",
    )
