"""Worker, serve, console and commands run as a role that has the rights alone which the doctor asks for."""

from pathlib import Path

import pytest

from tests.support.everything import Servers, run_everything
from tests.support.plain_role import least_role
from tests.support.servers import EmbeddedValkey

pytestmark = pytest.mark.slow


@pytest.mark.databases("postgresql", "mariadb")
def test_worker_serve_console_and_commands_run_with_those_rights_alone(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    with least_role(migrated_database_url) as role:
        servers = Servers(
            database=role.url, broker=own_valkey.url, producers_broker=own_valkey.url, execute=role.execute
        )
        run_everything(servers, tmp_path)
