"""Settings that a test gives by variables and files, in an empty folder of its own."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from worker.settings import PREFIX, Settings, SettingsError, load_settings

TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT = {"ACCOUNT_SID": "abcdef", "AUTH_TOKEN": TOKEN, "APP_ID": "app1"}


class Given:
    """Sets variables, without their prefix, and loads the settings from them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def settings(self, variables: Mapping[str, str] | None = None, **more: str) -> Settings:
        for name, value in {**(variables or {}), **more}.items():
            self._monkeypatch.setenv(PREFIX + name, value)
        return load_settings()

    def faults(self, variables: Mapping[str, str] | None = None, **more: str) -> tuple[str, ...]:
        with pytest.raises(SettingsError) as caught:
            self.settings(variables, **more)
        assert str(caught.value) == "\n".join(caught.value.faults)
        return caught.value.faults

    def fault(self, variables: Mapping[str, str] | None = None, **more: str) -> str:
        (only,) = self.faults(variables, **more)
        return only


def accounts_file(text: str, mode: int = 0o600, name: str = "accounts.toml") -> str:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


def secret_file(content: str | bytes, mode: int = 0o600, name: str = "secret") -> str:
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return str(path)
