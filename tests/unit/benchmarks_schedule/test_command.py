import json
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.schedule.__main__ import main
from benchmarks.schedule.measure import Measured

FIGURES = {field.name for field in fields(Measured)}


MADE = ["--workload", "tiny", "--load", "1", "--policy", "clairvoyant"]


def test_one_workload_gives_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    main([*MADE, "--json"])
    assert json.loads(capsys.readouterr().out).keys() == FIGURES


def test_without_json_each_figure_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(MADE)
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]} == FIGURES


def test_the_table_of_chosen_workloads_can_be_plotted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "plot.svg"
    policies = ["--policy", "round-robin", "--policy", "clairvoyant"]
    main(["--workload", "tiny", "--seeds", "2", *policies, "--json", "--plot", str(plot)])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["policy"] for row in rows] == ["round-robin", "clairvoyant"]
    assert {(row["workload"], row["seeds"]) for row in rows} == {("tiny", 2)}
    assert plot.read_text("utf-8").startswith("<svg")
