"""docs/metrics.md, the alerts, the runbook and the dashboard name the metrics of the code, and no others."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import worker
from worker.web.metric_catalogue import CATALOGUE, Counter, Histogram

ROOT = Path(worker.__file__).parents[1]
RULES = (ROOT / "deploy" / "prometheus" / "reconciler.rules.yml").read_text("utf-8")
TESTS = (ROOT / "deploy" / "prometheus" / "reconciler.rules.test.yml").read_text("utf-8")
NAMES = {metric.name for metric in CATALOGUE}


def alerts() -> Mapping[str, str]:
    """Each alert with its rule."""
    rules = re.split(r"^ +- alert: ", RULES, flags=re.MULTILINE)[1:]
    return {rule.split("\n", 1)[0]: rule for rule in rules}


def named(text: str) -> set[str]:
    """The metrics that a text names, a histogram by any of its parts."""
    histograms = {metric.name for metric in CATALOGUE if isinstance(metric, Histogram)}
    found = set()
    for name in re.findall(r"\breconciler_[a-z_]+\b", text):
        whole = re.sub("_(bucket|sum|count)$", "", name)
        found.add(whole if whole in histograms else name)
    return found


def expressions(panel: Mapping[str, Any]) -> Iterator[str]:
    yield from (target["expr"] for target in panel.get("targets", ()))


def test_the_page_lists_every_metric_as_the_code_has_it() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(reconciler_\w+)` \| (\w+) \| (.*?) \| (.*?) \| .+? \|$", page, re.MULTILINE)
    kinds = {Counter: "counter", Histogram: "histogram"}
    expected = [
        (
            metric.name,
            kinds.get(type(metric), "gauge"),
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.help,
        )
        for metric in CATALOGUE
    ]
    assert rows == expected


def test_every_alert_names_metrics_that_exist() -> None:
    assert named(RULES) <= NAMES
    assert named(TESTS) <= NAMES


def test_every_alert_has_its_section_of_the_runbook_and_every_section_its_alert() -> None:
    sections = (ROOT / "docs" / "runbook.md").read_text("utf-8").split("\n## ")[1:]
    by_anchor = {text.split("\n", 1)[0].lower().replace(" ", "-"): text for text in sections}
    pointed = {name: re.findall(r'runbook: "docs/runbook\.md#([\w-]+)"', rule) for name, rule in alerts().items()}
    assert all(len(anchors) == 1 for anchors in pointed.values()), pointed
    assert [anchors[0] for anchors in pointed.values()] == list(by_anchor)
    for name, text in by_anchor.items():
        for part in ("**It means:**", "**Look at**", "**Do"):
            assert part in text, f"{name} lacks {part}"


def test_every_alert_is_tested_where_it_fires_and_where_it_does_not() -> None:
    silent = set(re.findall(r"\{eval_time: \w+, alertname: (\w+)\}", TESTS))
    fires = set(re.findall(r"alertname: (\w+)\n +exp_alerts:", TESTS))
    assert silent == fires == set(alerts())


def test_alertmanager_names_alerts_that_exist() -> None:
    text = (ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text("utf-8")
    assert set(re.findall(r"\bReconciler[A-Z]\w+", text)) <= set(alerts())


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "reconciler.json").read_text("utf-8"))
    shown = {name for panel in dashboard["panels"] for text in expressions(panel) for name in named(text)}
    assert shown == NAMES
