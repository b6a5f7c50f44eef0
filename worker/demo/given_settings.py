"""What the programs of the demo are given: their settings, and the file of accounts."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.adapters.child_processes import environment_of_programs
from worker.adapters.private_files import make_private
from worker.demo.plan import Pace
from worker.settings import Settings, load_settings

_UNRESOLVED_AFTER_SECONDS = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoAccount:
    """The demo's account: a new one for each run, so that runs do not mix."""

    name: str
    sid: str
    callback_token: str = field(repr=False)


def environment_of(folder: Path, account: DemoAccount, pace: Pace, *, database: str, broker: str) -> dict[str, str]:
    """The environment of every program; writes the file of accounts that it names.

    None of the caller's settings is in it: the demo must not reach a real account.
    """
    return environment_of_programs(
        {
            "RECONCILER_DATABASE_URL": database,
            "RECONCILER_BROKER_URL": broker,
            # Replaced once the platform has a port; loopback in any case.
            "RECONCILER_PLATFORM_URL": "http://127.0.0.1:1",
            "RECONCILER_ACCOUNTS_FILE": str(_write_account(folder, account)),
            "RECONCILER_QUERY_WINDOW_SECONDS": f"{pace.window:g}",
            "RECONCILER_QUERY_MARGIN_SECONDS": f"{pace.margin:g}",
            "RECONCILER_CALLBACK_GRACE_SECONDS": f"{pace.grace:g}",
            "RECONCILER_REQUEST_DEADLINE_SECONDS": f"{pace.deadline:g}",
            "RECONCILER_CONNECT_TIMEOUT_SECONDS": f"{pace.deadline:g}",
            "RECONCILER_TICK_SECONDS": f"{pace.tick:g}",
            "RECONCILER_UNRESOLVED_AFTER_SECONDS": str(_UNRESOLVED_AFTER_SECONDS),
        }
    )


def absolute(url: str) -> str:
    """A database URL that means the same in every folder: the programs run in the work folder."""
    kind, separator, file = url.partition(":///")
    return f"{kind}:///{Path(file).absolute()}" if separator and file and kind.startswith("sqlite") else url


def settings_of(environment: Mapping[str, str]) -> Settings:
    """The settings as the worker will read them."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        return load_settings(env_file=None)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _write_account(folder: Path, account: DemoAccount) -> Path:
    file = folder / "accounts.toml"
    make_private(file)
    credentials = {
        "account_sid": account.sid,
        "auth_token": secrets.token_hex(16),
        "app_id": f"{account.name}-app",
        "callback_token": account.callback_token,
    }
    lines = [f"[{account.name}]", *(f'{name} = "{value}"' for name, value in credentials.items()), ""]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file
