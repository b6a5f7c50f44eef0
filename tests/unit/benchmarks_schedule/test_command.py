import json
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.schedule.__main__ import main
from benchmarks.schedule.measure import Measured
from benchmarks.schedule.scenario import write_scenario
from tests.unit.benchmarks_schedule.builders import make_scenario

FIGURES = {field.name for field in fields(Measured)}


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    file = tmp_path / "recorded.json"
    write_scenario(make_scenario([(0, 60, None), (0, 700, None), (5, 10, 20)], windows=200), file)
    return str(file)


def test_a_recorded_workload_gives_one_json_object(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--scenario", recorded, "--policy", "clairvoyant", "--json"])
    value = json.loads(capsys.readouterr().out)
    assert value.keys() == FIGURES
    assert value["mean_delay_seconds"] == 10
    assert (value["queries"], value["ids"]) == (2, 2)


def test_without_json_each_figure_has_a_line(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--scenario", recorded, "--policy", "clairvoyant"])
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]} == FIGURES


def test_a_made_workload_that_is_stored_runs_as_the_made_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = str(tmp_path / "stored.json")
    made = ["--workload", "bimodal", "--load", "2", "--seed", "5"]
    main([*made, "--write", stored])
    main([*made, "--policy", "round-robin", "--json"])
    main(["--scenario", stored, "--policy", "round-robin", "--json"])
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def test_the_table_of_chosen_workloads_can_be_plotted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "plot.svg"
    policies = ["--policy", "round-robin", "--policy", "clairvoyant"]
    main(["--workload", "tiny", "--seeds", "2", *policies, "--json", "--plot", str(plot)])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["policy"] for row in rows] == ["round-robin", "clairvoyant"]
    assert {(row["workload"], row["seeds"]) for row in rows} == {("tiny", 2)}
    assert plot.read_text("utf-8").startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--scenario", "/none.json"], "/none.json: cannot be read"),
        (["--scenario", "/none.json", "--load", "5"], "either --scenario"),
        (["--load", "5"], "needs one --workload"),
        (["--workload", "quick", "--load", "0"], "more than 0"),
        (["--write", "/tmp/x.json"], "--write needs"),
        (["--workload", "none"], "invalid choice"),
        (["--seeds", "0"], "--seeds"),
        (["--plot", "/none/plot.svg"], "no folder"),
    ],
)
def test_what_cannot_be_done_is_refused_on_standard_error(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert not out
    assert complaint in err
