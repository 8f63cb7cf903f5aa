"""The benchmark of the tax runs and says what it should."""

import json

import pytest

from benchmarks import module_task


@pytest.mark.slow
def test_it_measures_both_loops(capsys):
    assert module_task.main(["--json", "--steps", "1", "--rounds", "1"]) == 0
    *measured, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [line["task"] for line in measured] == ["resnet20", "lm"]
    assert last.keys() == {"ratio"} and all(value > 0 for value in last["ratio"].values())
