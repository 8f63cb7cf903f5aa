"""The benchmark of the fee in time: its line of JSON, and what it counts."""

import io
import json
from pathlib import Path

import pytest

from benchmarks.warm_start_fee import __main__ as command
from benchmarks.warm_start_fee import against, measure, workloads
from hypernudge.task import GradientTask


def test_the_last_line_is_one_object_with_the_share_of_every_case(monkeypatch, capsys):
    numbers = {
        "processor_share": 0.02,
        "first_share": 0.03,
        "pairs": 0.01,
        "choosing_ms": 0.2,
        "probe_ms": 2.0,
    }
    asked = []

    def measured(case, rounds):
        asked.append((case, rounds))
        ratios = {"probe_over_steps": 1.2, "probe_again_over_steps": 1.1}
        return {"share": 0.01 * len(asked), **ratios, **numbers}

    monkeypatch.setattr(command, "measured", measured)
    assert command.main(["--json", "--quick"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["wall_fee"] == {name: 0.01 * (i + 1) for i, name in enumerate(command.LIMITS)}
    assert [rounds for _, rounds in asked] == [1] * len(command.LIMITS)
    assert command.main(["--cases", "lm"]) == 0
    shown, line = capsys.readouterr().out.rsplit("\n", 2)[:2]
    assert "| lm | 6.00 % | 1.00 % |" in shown and list(json.loads(line)["wall_fee"]) == ["lm"]
    assert asked[-1] == ("lm", command.ROUNDS["lm"]) and set(command.ROUNDS) == set(workloads.CASES)


def test_a_case_is_measured_as_the_harness_runs_it(monkeypatch):
    short = {**workloads.DIGITS, "budget": {"units": 4}}
    monkeypatch.setitem(workloads.CASES, "serial", ("serial", short))
    found = measure.main("serial", 1)
    assert 0 < found["share"] < 1 and 0 < found["processor_share"] < 1 and found["seconds"] > 0
    assert found["probe_ms"] == found["first_probe_ms"] > 0 and found["choosing_ms"] > 0
    assert found["counted_as_steps"] == pytest.approx(5.506, abs=1e-3) and found["trials"] >= 4
    expected = found["probe_ms"] / (found["counted_as_steps"] * found["step_ms"])
    assert found["probe_over_steps"] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["resnet20", "lm"])
def test_the_networks_are_tasks(name):
    task = getattr(workloads, name)()
    assert isinstance(task, GradientTask) and task.unit_flops(task.space.middle()) > 0


def test_a_checkout_answers_every_turn_with_what_its_cell_took(monkeypatch, capsys):
    short = {**workloads.DIGITS, "budget": {"units": 2}}
    monkeypatch.setitem(workloads.CASES, "serial", ("serial", short))
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n0\n1\n"))
    against.worker("serial", 2)
    first, other, again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert first["digests"] == again["digests"] != other["digests"]
    assert first["starts"] == again["starts"] != other["starts"]
    assert first["choosing"] > 0 and len(first["probes"]) == 1 and 0 < first["processor_share"] < 1


@pytest.mark.parametrize("same", ["records", "starts", "OTHER"])
def test_what_one_checkout_takes_over_another(monkeypatch, capsys, same):
    asked = []

    class Fake:
        def __init__(self, root, case, cells):
            self.own = root == against.ROOT

        def cell(self, turn):
            asked.append((self.own, turn))
            took = {"choosing": 2.0 + turn, "probes": [4.0, 4.0], "processor_share": 0.04}
            if self.own:
                took = {"choosing": 1.0 + turn / 2, "probes": [1.0, 1.0], "processor_share": 0.03}
            digests = [turn if same == "records" or not self.own else -1]
            return took | {"digests": digests, "starts": digests if same == "OTHER" else [turn]}

        def close(self):
            asked.append("closed")

    monkeypatch.setattr(against, "Checkout", Fake)
    code = against.main(["elsewhere", "--cases", "serial", "--cells", "2"])
    shown, line = capsys.readouterr().out.splitlines()
    found = json.loads(line)["over_before"]["serial"]
    assert found == {
        "same_records": same == "records",
        "same_starts": same != "OTHER",
        "choosing": 0.5,
        "probes": 0.25,
        "processor_share": pytest.approx(0.75),
        "cells": 2,
    }
    assert code == (1 if same == "OTHER" else 0)
    assert shown.endswith("OTHER STARTS" if same == "OTHER" else f"; the same {same}")
    warm = against.WARM_UP
    turns = [(False, warm), (True, warm), (False, 0), (True, 0), (True, 1), (False, 1)]
    assert asked == [*turns, "closed", "closed"] and Path("elsewhere").resolve() != against.ROOT
