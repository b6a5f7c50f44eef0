"""The compiled catalogues of messages, as the standard library's gettext reads them."""

from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files

ENGLISH = "en"
"""The language of the code, which has no catalogue."""


@cache
def translations(code: str) -> NullTranslations:
    """The catalogue of a language: `zh`, or `en`. Raises FileNotFoundError where a checkout has not compiled it."""
    if code == ENGLISH:
        return NullTranslations()
    name = f"{code}.mo"
    try:
        with (files("worker.words") / "locale" / name).open("rb") as compiled:
            return GNUTranslations(compiled)
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}, the compiled catalogue of words, is missing: run `make setup`") from None
