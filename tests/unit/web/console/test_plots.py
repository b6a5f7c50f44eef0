"""Charts: what stands in the markup."""

from dataclasses import replace
from gettext import NullTranslations
from xml.etree import ElementTree

import pytest
from flask import Flask
from jinja2 import Environment, PackageLoader

from worker.web.console.plots import HEIGHT, WIDTH, Chart, Series, frame, nice_top

TEMPLATES = Environment(loader=PackageLoader("worker.web.console"), autoescape=True, extensions=["jinja2.ext.i18n"])
TEMPLATES.install_gettext_translations(NullTranslations(), newstyle=True)  # type: ignore[attr-defined]  # by the extension
SVG = "{http://www.w3.org/2000/svg}"
CHART = Chart(
    key="states",
    title="Orders",
    description="By state",
    across="From",
    labels=["10:00", "10:30", "11:00"],
    ticks=[0, 2],
    bars=[
        Series(name="Succeeded", kind="succeeded", values=[10, 0, 3]),
        Series(name="Failed", kind="failed", values=[2, 0, 1]),
    ],
)


def draw(chart: Chart) -> str:
    # Its words are in the language of the request.
    with Flask(__name__).test_request_context():
        return TEMPLATES.get_template("console/plot.html").render(chart=chart, **frame())


def drawn(chart: Chart) -> ElementTree.Element:
    markup = draw(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return ElementTree.fromstring(markup)


def rects(svg: ElementTree.Element) -> list[dict[str, str]]:
    return [dict(rect.attrib) for rect in svg.iter(f"{SVG}rect")]


def test_a_chart_says_what_it_is_and_what_each_bar_stands_for() -> None:
    svg = drawn(CHART)
    title, *bars = [element.text for element in svg.iter(f"{SVG}title")]
    description = svg.find(f"{SVG}desc")
    assert title == "Orders"
    assert description is not None
    assert description.text == "By state"
    assert bars[0] == "10:00: Succeeded 10, Failed 2"
    assert [element.text for element in svg.iter(f"{SVG}text") if element.get("class") == "tick"] == ["10:00", "11:00"]
    assert [element.text for element in svg.iter(f"{SVG}text") if element.get("class") == "figure"] == ["0", "10", "20"]


def test_bars_are_stacked_and_nothing_is_drawn_for_nothing() -> None:
    found = rects(drawn(CHART))
    assert [one["class"] for one in found] == ["succeeded", "failed", "succeeded", "failed"]
    lower, upper = found[:2]
    assert float(upper["y"]) + float(upper["height"]) == pytest.approx(float(lower["y"]), abs=0.2)
    assert lower["x"] == upper["x"]


def test_all_is_drawn_within_the_picture_whatever_the_figures() -> None:
    for values in ([0, 0, 0], [1, 10**9, 3], [0.25, 0.5, 0.125]):
        svg = drawn(
            replace(
                CHART,
                bars=[Series(name="x", kind="x", values=values)],
                line=Series(name="y", kind="y", values=[2 * value for value in values]),
            )
        )
        for one in rects(svg):
            assert 0 <= float(one["x"]) <= float(one["x"]) + float(one["width"]) <= WIDTH
            assert 0 <= float(one["y"]) <= float(one["y"]) + float(one["height"]) <= HEIGHT


def test_a_small_figure_beside_a_large_one_can_be_seen() -> None:
    found = rects(drawn(replace(CHART, bars=[Series(name="x", kind="x", values=[1, 10**6, 0])])))
    assert float(found[0]["height"]) >= 1


def test_a_chart_without_bars_is_drawn_all_the_same() -> None:
    empty = Series(name="x", kind="x", values=[])
    assert rects(drawn(replace(CHART, labels=[], ticks=[], bars=[empty], line=empty))) == []


def test_the_legend_and_the_columns_name_all_that_is_drawn() -> None:
    chart = replace(CHART, line=Series(name="Submitted", kind="submitted", values=[1, 2, 3]))
    assert [name for name, _ in chart.legend] == ["Succeeded", "Failed", "Submitted"]
    assert [column.name for column in chart.columns] == ["Succeeded", "Failed", "Submitted"]


@pytest.mark.parametrize(
    ("most", "top"), [(0, 1), (0.3, 1), (1, 1), (1.01, 2), (3, 5), (7, 10), (10, 10), (11, 20), (4_001, 5_000)]
)
def test_the_axis_ends_at_an_even_figure(most: float, top: float) -> None:
    assert nice_top(most) == top
