"""What a message adds where its program may run in the wrong folder: one without the `.env` that was meant."""

from pathlib import Path

from worker.adapters.error_text import one_line
from worker.settings.model import PREFIX, Settings


def hint_on_folder() -> str:
    """Beside the lack of a setting; empty where there is an `.env`."""
    if Path(".env").exists():
        return ""
    return f" (there is no .env in {_folder()}; if you have one, call the command in its folder)"


def hint_on_default(settings: Settings, name: str) -> str:
    """Beside the value of `database_url` or `broker_url`; empty where it was set, or could have been in an `.env`."""
    if name in settings.model_fields_set or Path(".env").exists():
        return ""
    return (
        f"; that is the default {name.removesuffix('_url')}, as there is no .env in {_folder()} and"
        f" {PREFIX}{name.upper()} is not set: if you have an .env, call the command in its folder"
    )


def _folder() -> str:
    return one_line(str(Path.cwd()))
