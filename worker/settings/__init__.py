"""The settings, from the environment and from `.env` in the working directory.

Nothing is read at import. A program calls `load_settings()` once, at its start. `Settings(...)` takes keyword arguments
and reads neither the environment nor `.env`. `.env.example` explains each setting.
"""

from worker.settings.accounts import DEFAULT_ACCOUNT, AccountsFile
from worker.settings.fields import SettingsError
from worker.settings.model import PREFIX, Settings
from worker.settings.reading import VARIABLES, load_settings

__all__ = ["DEFAULT_ACCOUNT", "PREFIX", "VARIABLES", "AccountsFile", "Settings", "SettingsError", "load_settings"]
