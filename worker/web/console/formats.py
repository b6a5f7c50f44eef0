"""How the console shows times, durations, amounts and counts, as filters of its templates."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from flask import Blueprint, current_app

from worker.domain.field_rules import amount_text
from worker.web.console.languages import N_, text

_ZONE = "RECONCILER_CONSOLE_ZONE"
_UNITS = (
    (86_400.0, N_("%(count)s days")),
    (3_600.0, N_("%(count)s hours")),
    (60.0, N_("%(count)s minutes")),
)


def add_formats(routes: Blueprint, zone: ZoneInfo) -> None:
    """Make the filters known. Times are shown in `zone`."""

    @routes.record_once
    def keep_zone(state: "object") -> None:
        state.app.config[_ZONE] = zone  # type: ignore[attr-defined]  # Flask publishes no type of its setup state

    for name, shown in (("time", shown_time), ("duration", duration), ("yuan", yuan), ("count", "{:,}".format)):
        routes.add_app_template_filter(shown, name)


def shown_time(value: datetime | None) -> str:
    """A time to the second, in the zone of the console; empty for None."""
    return "" if value is None else f"{value.astimezone(current_app.config[_ZONE]):%Y-%m-%d %H:%M:%S}"


def yuan(value: Decimal | None) -> str:
    """An amount; empty for None."""
    return "" if value is None else f"￥{amount_text(value)}"


def duration(seconds: float | None) -> str:
    """A duration to two digits or so, in the unit that a person would take; empty for None."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    length, words = next((unit for unit in _UNITS if seconds >= 2 * unit[0]), (1.0, N_("%(count)s seconds")))
    count = seconds / length
    shown = f"{count:.0f}" if count >= 9.95 else f"{count:.1f}".removesuffix(".0")
    return text(words, count=shown)
