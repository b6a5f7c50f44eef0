"""The database's own history of the orders: triggers record each row's insert, changes and delete.

The triggers see what was done, whatever a program writes about it.
"""

import sqlalchemy
from sqlalchemy import Connection

_COLUMNS = "order_id, old_state, new_state, old_result, new_result"
_INSERT = f"INSERT INTO order_history ({_COLUMNS}) VALUES"
_RESULT = "concat_ws('/', {row}.traffic_sts, {row}.ori_amount, {row}.remark)"
_RESULT_SQLITE = (
    "coalesce({row}.traffic_sts, '') || '/' || coalesce({row}.ori_amount, '') || '/' || coalesce({row}.remark, '')"
)


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
            " new_state VARCHAR(16), old_result TEXT, new_result TEXT)"
        )
        if kind == "postgresql":
            _install_postgresql(connection)
        else:
            _install_rowwise(connection, _RESULT_SQLITE if kind == "sqlite" else _RESULT)
    engine.dispose()


def _install_postgresql(connection: Connection) -> None:
    old, new = _RESULT.format(row="OLD"), _RESULT.format(row="NEW")
    connection.exec_driver_sql(
        f"""CREATE FUNCTION record_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'INSERT' THEN {_INSERT} (NEW.id, NULL, NEW.state, NULL, {new});
        ELSIF TG_OP = 'DELETE' THEN {_INSERT} (OLD.id, OLD.state, NULL, {old}, NULL);
        ELSIF OLD.state <> NEW.state OR {old} <> {new} THEN {_INSERT} (NEW.id, OLD.state, NEW.state, {old}, {new});
        END IF; RETURN NULL; END $$"""
    )
    connection.exec_driver_sql(
        "CREATE TRIGGER record_changes AFTER INSERT OR UPDATE OR DELETE ON recharge_orders"
        " FOR EACH ROW EXECUTE FUNCTION record_change()"
    )


def _install_rowwise(connection: Connection, result: str) -> None:
    old, new = result.format(row="OLD"), result.format(row="NEW")
    differs = f"OLD.state <> NEW.state OR {old} <> {new}"
    bodies = {
        "INSERT": f"{_INSERT} (NEW.id, NULL, NEW.state, NULL, {new});",
        "DELETE": f"{_INSERT} (OLD.id, OLD.state, NULL, {old}, NULL);",
        "UPDATE": f"{_INSERT} (NEW.id, OLD.state, NEW.state, {old}, {new});",
    }
    for event, body in bodies.items():
        head = f"CREATE TRIGGER record_{event.lower()} AFTER {event} ON recharge_orders FOR EACH ROW"
        if event == "UPDATE":
            is_sqlite = connection.dialect.name == "sqlite"
            body = f"WHEN {differs} BEGIN {body} END" if is_sqlite else f"BEGIN IF {differs} THEN {body} END IF; END"
        else:
            body = f"BEGIN {body} END"
        connection.exec_driver_sql(f"{head} {body}".replace("%", "%%"))
