"""The languages of the console, and the functions that write words, times, durations and amounts in the language of the
request.

The English words are in the code, the Chinese words in a catalogue.
"""

from datetime import datetime
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, current_app, g, redirect, request

from worker.domain.records.notifications import DeliveryOutcome
from worker.domain.records.operators import ActKind
from worker.domain.records.sentences import Sentence
from worker.domain.wire.fields import amount_text
from worker.words import Skin, catalogue
from worker.words.catalogue import FINDINGS, LANGUAGE_OF_THE_CODE, PAGES, QUERY_OUTCOMES, translations
from worker.words.sentences import detail_text

LANGUAGES = {"zh": "中文", "en": "English"}
"""Maps the code of each language to its name, which is in that language."""

_COOKIE = "language"
_COOKIE_SECONDS = 365 * 24 * 3600
_ZONE = "RECONCILER_CONSOLE_ZONE"


def language() -> str:
    """The language of the request: the one chosen on a page, otherwise the one that the browser prefers."""
    if "language" not in g:
        chosen = request.cookies.get(_COOKIE)
        g.language = (
            chosen if chosen in LANGUAGES else request.accept_languages.best_match(LANGUAGES, LANGUAGE_OF_THE_CODE)
        )
    return str(g.language)


def _translate(message: str) -> str:
    return translations(language()).gettext(message)


SKIN = Skin(translate=_translate, remedies=PAGES, time=lambda time: shown_time(time))
"""How the console writes texts: in the language of the request, and with pages of the console as remedies."""
text = SKIN.text
word = partial(catalogue.name, skin=SKIN)
word_of = partial(catalogue.name_of, skin=SKIN)
meaning = partial(catalogue.means, skin=SKIN)
in_words = SKIN.say
detail_word = partial(detail_text, skin=SKIN)


def lines_in_words(errors: Sentence, most: int | None = None) -> list[str]:
    """The errors of refused input, line by line: all of them, or the first `most`."""
    return in_words(errors).split("\n")[:most]


def outcome_word(outcome: str | None) -> str:
    """The outcome of a query in words; empty for None."""
    return "" if outcome is None else text(QUERY_OUTCOMES.get(outcome, outcome))


def finding_word(name: str) -> str:
    """The name of a finding in words."""
    return text(FINDINGS[name].name)


def add_languages(routes: Blueprint, zone: ZoneInfo) -> None:
    """Have templates use the language of the request, and add the route by which the reader chooses another language.
    Times are shown in `zone`.

    Raises FileNotFoundError if the catalogue of a language is not compiled.
    """
    for code in LANGUAGES:
        translations(code)

    @routes.record_once
    def extend(state: "object") -> None:
        environment = state.app.jinja_env  # type: ignore[attr-defined]  # Flask publishes no type of its setup state
        environment.add_extension("jinja2.ext.i18n")
        environment.install_gettext_callables(
            _translate,
            lambda one, many, count: translations(language()).ngettext(one, many, count),
            newstyle=True,
        )
        environment.globals["language"] = language
        environment.filters.update(time=shown_time, duration=duration, yuan=yuan, count="{:,}".format)
        environment.filters.update(
            word=word,
            means=meaning,
            remedy=partial(catalogue.remedy, skin=SKIN),
            outcome=outcome_word,
            delivery=partial(word_of, DeliveryOutcome),
            finding=finding_word,
            act=partial(word_of, ActKind),
            detail=detail_word,
            lines=lines_in_words,
            said=in_words,
        )
        state.app.config[_ZONE] = zone  # type: ignore[attr-defined]  # Flask publishes no type of its setup state

    @routes.post("/language")
    def choose_language() -> Response:
        """Keep the chosen language in a cookie, and go back to the page where it was chosen."""
        answer = redirect(local_path(request.form.get("next", "/")), 303)
        code = request.form.get("language", "")
        if code in LANGUAGES:
            answer.set_cookie(_COOKIE, code, max_age=_COOKIE_SECONDS, httponly=True, samesite="Lax")
        return answer  # type: ignore[return-value]  # werkzeug's own response, which Flask sends as it is


def local_path(path: str) -> str:
    """The path of a page of ours to go back to; `/` for anything else, such as another host."""
    # A browser drops tabs and line ends from an address. So "/", a tab and "/host" would become "//host", which is
    # another host.
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_local else "/"


def shown_time(value: datetime | None) -> str:
    """A time to the second, in the zone of the console; empty for None."""
    return "" if value is None else f"{value.astimezone(current_app.config[_ZONE]):%Y-%m-%d %H:%M:%S}"


def shown_clock() -> str:
    """The host's present time of day, in the zone of the console. It shows when a page was made."""
    return f"{datetime.now(current_app.config[_ZONE]):%H:%M:%S}"


def yuan(value: Decimal | None) -> str:
    """An amount in yuan; empty for None."""
    return "" if value is None else f"￥{amount_text(value)}"


def duration(seconds: float | None) -> str:
    """A duration to about two digits; empty for None."""
    return "" if seconds is None else SKIN.duration(seconds)
