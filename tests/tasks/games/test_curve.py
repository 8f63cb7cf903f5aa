"""`python -m benchmarks.games curve`: written as it comes, and gone on with to the bit."""

import json

import pytest

pytest.importorskip("stable_baselines3", reason="extra rl")
from benchmarks.games import __main__ as command
from benchmarks.games import curve, figure


class Killed(BaseException):
    """As by a signal, between two units."""


def run(monkeypatch, output, *more):
    given = ["games", "curve", "cartpole", "--seeds", "2", "--units", "2", "--steps", "512", *more]
    monkeypatch.setattr("sys.argv", [*given, "--output", str(output)])
    assert command.main() == 0
    return json.loads(output.read_text())


def learned(result):
    """Return what does not depend on the clock."""
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in result["rows"]]


def test_a_killed_curve_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    whole = run(monkeypatch, tmp_path / "whole.json")
    played, killed = curve._returns, tmp_path / "killed.json"
    assert [(row["seed"], row["unit"]) for row in learned(whole)] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    for left in (1, 1, 1):  # killed before the second score, the third, the fourth: trained, and not scored
        with monkeypatch.context() as patched, pytest.raises(Killed):
            count = iter(range(2 * left))  # greedy games and drawn ones

            def score(task, state, deterministic, count=count):
                if next(count, None) is None:
                    raise Killed
                return played(task, state, deterministic)

            patched.setattr(curve, "_returns", score)
            run(monkeypatch, killed)
        assert (tmp_path / "killed.work").is_dir()
    again = run(monkeypatch, killed)
    assert learned(again) == learned(whole)
    assert [row["training_seconds"] is None for row in again["rows"]] == [False, True, True, True]
    assert not (tmp_path / "killed.work").exists()
    assert figure.draw([whole]).axes[0].get_title() == "CartPole"
    with pytest.raises(SystemExit):
        run(monkeypatch, killed, "--planned", "3")
    assert "--output: must be absent, or hold curves of this setting" in capsys.readouterr().err
