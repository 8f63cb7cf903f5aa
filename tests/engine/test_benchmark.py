"""The engine benchmark in a light form: its last line is what it promises."""

from __future__ import annotations

import json

from benchmarks.engine import __main__ as engine


def test_the_last_line_is_the_result(capsys):
    arguments = ["--json", "--quick", "--tasks", "digits_mlp", "lm", "--members", "1", "4", "--limit", "0.3"]
    assert engine.main(arguments) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    rates = result["member_steps_per_second"]
    assert list(rates) == ["digits_mlp", "lm"]
    for row in rates.values():
        assert list(row) == ["serial", "population"] and list(row["population"]) == ["1", "4"]
        assert row["serial"] > 0 and row["population"]["1"] > 0
    flops = result["flops_per_second"]
    assert flops["digits_mlp"] > 0 and flops["matrix_product"] > 0
