"""The servers that the other tests depend on: if data leaks from test to test, these prove nothing."""

import json
from collections.abc import Iterator

import psycopg
import pytest
import redis
import sqlalchemy
from kombu import Connection, Queue
from sqlalchemy.pool import NullPool

from tests.support.brokers import QUEUES, remove_queues
from tests.support.databases import DatabaseServer
from tests.support.servers import EmbeddedPostgres, EmbeddedValkey

pytestmark = pytest.mark.slow

PARENT = "CREATE TABLE parent (id INTEGER PRIMARY KEY, name VARCHAR(9) DEFAULT '5%')"
CHILD = "CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER, FOREIGN KEY (parent_id) REFERENCES parent (id))"


def make_family(url: str) -> None:
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in (PARENT, CHILD, "INSERT INTO parent (id) VALUES (7)"):
            connection.execute(sqlalchemy.text(statement))


def tables(url: str) -> list[str]:
    return sorted(sqlalchemy.inspect(sqlalchemy.create_engine(url, poolclass=NullPool)).get_table_names())


@pytest.fixture
def family_server(database_server: DatabaseServer) -> Iterator[str]:
    """A server's database that was migrated by `make_family`, beside the one that the session keeps."""
    kept = database_server.kept_migrated
    database_server.kept_migrated = None
    with database_server.migrated(make_family) as url:
        yield url
    database_server.close()
    database_server.kept_migrated = kept


def test_a_database_is_empty_whatever_the_test_before_left(database_server: DatabaseServer) -> None:
    with database_server.empty() as first:
        make_family(first)
    with database_server.empty() as second:
        assert tables(second) == []


def test_a_migrated_database_has_the_tables_rows_and_keys_of_the_migration(family_server: str) -> None:
    engine = sqlalchemy.create_engine(family_server, poolclass=NullPool)

    assert tables(family_server) == ["child", "parent"]
    assert sqlalchemy.inspect(engine).get_foreign_keys("child")[0]["referred_table"] == "parent"
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT id, name FROM parent")).all() == [(7, "5%")]


def test_a_database_is_dropped_while_a_session_holds_a_lock_in_it(database_server: DatabaseServer) -> None:
    with database_server.empty() as url:
        make_family(url)
        engine = sqlalchemy.create_engine(url)
        holder = engine.connect()
        holder.execute(sqlalchemy.text("SELECT * FROM parent"))
    holder.invalidate()
    holder.close()
    engine.dispose()


def test_queues_are_removed_with_what_a_killed_worker_had_received(own_valkey: EmbeddedValkey) -> None:
    with own_valkey.client() as client:
        client.lpush("reconciler.orders", "waiting")
        client.lpush("reconciler.ticks\x06\x169", "urgent")
        client.lpush("somebody.else", "theirs")
        client.hset("unacked", "a", json.dumps(["ours", "", "reconciler.orders"]))
        client.hset("unacked", "b", json.dumps(["theirs", "", "somebody.else"]))
        client.zadd("unacked_index", {"a": 1, "b": 1})

        remove_queues(own_valkey.url)

        assert sorted(client.keys()) == [b"somebody.else", b"unacked", b"unacked_index"]
        assert client.hkeys("unacked") == client.zrange("unacked_index", 0, -1) == [b"b"]


def test_a_brokers_queues_are_empty_at_the_start_of_a_test(broker_url: str) -> None:
    with Connection(broker_url) as connection, connection.channel() as channel:
        for name in QUEUES:
            queue = Queue(name, channel=channel)
            queue.declare()
            assert queue.get() is None
            with connection.Producer(channel) as producer:
                producer.publish({"left": "over"}, routing_key=name)

        remove_queues(broker_url)

        for name in QUEUES:
            queue = Queue(name, channel=channel)
            queue.declare()
            assert queue.get() is None


def test_a_killed_valkey_restarts_empty_on_the_same_port(own_valkey: EmbeddedValkey) -> None:
    with own_valkey.client() as client:
        client.set("key", "value")
        own_valkey.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("key")
        own_valkey.start()
        assert client.get("key") is None


def test_a_killed_postgres_restarts_with_what_was_committed() -> None:
    with EmbeddedPostgres() as server:
        url = server.url.replace("+psycopg", "")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept (id integer)")
        server.kill()
        server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
