"""The report of a run: per fault, how often it was injected, what was observed, and the figures."""

import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.faults.catalogue import Scenario
from tests.faults.runner import Result


def write_report(
    folder: Path, *, results: Sequence[Result], scenarios: Mapping[int, Scenario], seed: int, minutes: float
) -> Path:
    """Write report.md and report.json; returns the former."""
    head = _head(results, seed, minutes)
    (folder / "report.json").write_text(
        json.dumps(head | {"runs": [asdict(result) for result in results]}, ensure_ascii=False, indent=1),
        encoding="utf-8",
    )
    report = folder / "report.md"
    report.write_text("\n".join(_lines(head, results, scenarios)) + "\n", encoding="utf-8")
    return report


def _head(results: Sequence[Result], seed: int, minutes: float) -> dict[str, object]:
    violations = Counter(what.split(":")[0] for result in results for what in result.violations)
    return {
        "seed": seed,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": round(minutes, 1),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("celery", "kombu", "sqlalchemy", "redis", "requests")},
        "runs": len(results),
        "injections": sum(result.injections for result in results),
        "violations": dict(violations),
        "not_finished": sum(result.error is not None for result in results),
    }


def _lines(head: Mapping[str, object], results: Sequence[Result], scenarios: Mapping[int, Scenario]) -> Iterator[str]:
    yield "# Faults: what was done, and what was seen"
    yield ""
    yield f"Seed {head['seed']}, {head['at']}, {head['minutes']} minutes, {head['machine']}."
    yield ""
    yield (
        f"{head['runs']} runs, {head['injections']} injections, violations: {head['violations'] or 'none'}, "
        f"not finished: {head['not_finished']}."
    )
    yield ""
    yield "| # | fault | runs | injections | on | violations | smallest spacing / window | longest recovery / bound |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for number, scenario in scenarios.items():
        some = [result for result in results if result.fault == number]
        if some:
            yield _row(number, scenario, some)
    yield from _details(results)


def _row(number: int, scenario: Scenario, results: Sequence[Result]) -> str:
    where = Counter(f"{result.database}+{result.broker}" for result in results)
    spacings = [one.smallest_spacing / one.window for one in results if one.smallest_spacing is not None]
    recovered = [one for one in results if one.recovery_seconds is not None]
    longest = max(recovered, key=lambda one: one.recovery_seconds or 0.0, default=None)
    cells = (
        str(number),
        scenario.title,
        str(len(results)),
        str(sum(result.injections for result in results)),
        ", ".join(f"{name} {count}" for name, count in sorted(where.items())),
        str(sum(len(result.violations) + (result.error is not None) for result in results)),
        f"{min(spacings):.3f}" if spacings else "-",
        f"{longest.recovery_seconds:.1f} s / {longest.recovery_bound:.1f} s" if longest else "-",
    )
    return f"| {' | '.join(cells)} |"


def _details(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        if result.is_good and not result.observations:
            continue
        yield ""
        yield f"**{result.fault}, time {result.time}** ({result.database}, {result.broker}, {result.seconds:g} s)"
        for what in (*result.observations, *(f"VIOLATION {one}" for one in result.violations[:20])):
            yield f"- {what}"
        if not result.injections:
            yield "- NOT INJECTED"
        if result.error is not None:
            yield f"- NOT FINISHED:\n\n```text\n{result.error.strip()}\n```"
