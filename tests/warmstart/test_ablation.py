"""The benchmark of variants: its times are those of whole studies, and what was run is not run again."""

import numpy as np
import pytest

from benchmarks.warm_starts import ablation, adamw, cells, ideas
from hypernudge import Informed
from hypernudge.random import Streams
from hypernudge.trial import History
from tests.laws.test_informed import with_results


def test_a_time_is_that_of_the_whole_study(monkeypatch):
    monkeypatch.setattr(cells, "UNITS", 12)
    monkeypatch.setattr(cells, "_KEPT", {})
    early = cells.run("digits_mlp", "mid", "asha_stopping", "none", (7, 8))
    monkeypatch.setattr(cells._Watch, "certain", property(lambda self: False))
    whole = cells.run("digits_mlp", "mid", "asha_stopping", "none", (7, 8))
    monkeypatch.setitem(cells.TARGETS, "digits_mlp", 0.5)
    low = cells.run("digits_mlp", "mid", "asha_stopping", "none", (7, 8))
    monkeypatch.undo()
    assert [cell["reached"] for cell in early.values()] == [False, False]
    assert early == whole and all(cell["time"] == pytest.approx(3.0) for cell in whole.values())
    monkeypatch.setattr(cells, "UNITS", 12)
    monkeypatch.setattr(cells, "_KEPT", {})
    monkeypatch.setitem(cells.TARGETS, "digits_mlp", 0.5)
    for seed, cell in cells.run("digits_mlp", "mid", "asha_stopping", "none", (7, 8)).items():
        assert cell["reached"] == low[seed]["reached"]
        assert cell["time"] == low[seed]["time"] and (cell["time"] < 3.0) == cell["reached"]
        assert cell["trials"] <= low[seed]["trials"]
    assert any(cell["reached"] for cell in low.values())


def test_ratios_are_paired_and_kept_cells_are_found_again(tmp_path):
    kept = cells.Kept(tmp_path / "new" / "ablation.jsonl")
    rng = np.random.default_rng(0)
    for task in ablation.MID:
        times = rng.uniform(5, 30, 16)
        for variant, factor in (("none", 1.0), ("second edition", 0.5)):
            found = {seed: {"time": factor * t, "reached": True} for seed, t in enumerate(times)}
            kept.add(found, variant=variant, scheduler="asha", space="mid", task=task)
    with kept.path.open("a") as file:
        file.write('{"variant": "no spr')  # killed while it wrote
    again = cells.Kept(kept.path)
    assert again.rows == kept.rows and len(again.find(variant="none", first_seed=0)) == 6
    row = again.add({0: {"time": 1.0, "reached": True}}, variant="late")
    assert cells.Kept(kept.path).rows[-1] == row
    half = cells.ratio(again.find(variant="second edition"), again.find(variant="none"))
    assert half == (pytest.approx(0.5, abs=1e-4), pytest.approx(0.0, abs=1e-4))
    assert cells.ratio(again.find(variant="none")[1:], again.find(variant="none")) is None
    assert "| second edition |  | .50 |  |  |" in ablation.tables(again, 0)


def test_each_idea_changes_what_is_started_and_none_is_where_it_has_nothing_to_say(bowl):
    history = with_results(bowl, lambda config: config["momentum"])
    plain = Informed(probe=False)
    known = plain._posterior(bowl, history, 0.0, 27.0)
    assert np.allclose(ideas.EveryUnit()._posterior(bowl, history, 0.0, 27.0).mean, known.mean, atol=0.2)
    assert np.array_equal(
        ideas.Spread()._posterior(bowl, history, 0.0, 27.0).mean, known.mean
    )  # nothing runs
    faded = ideas.Fading(over=60)._posterior(bowl, history, 0.0, 27.0)
    assert np.array_equal(faded.mean, known.mean) and np.abs(faded.covariance).max() < 1e-9
    begun = History.replay(history.events[:-1], 27)  # the last trial still runs
    last = begun.trials[-1].config
    liar, honest = (
        policy.belief(bowl, begun, [last]).mean[0] for policy in (ideas.Spread(probe=False), plain)
    )
    assert liar < honest
    for variant, policy in {**ablation.MAIN, **ablation.FURTHER}.items():
        nudge = policy(bowl, bowl.space.middle(), begun, Streams(0))
        assert nudge.policy == ("none" if variant == "none" else "informed") and not nudge.flagged


def test_the_figure_shows_what_is_complete_and_nothing_else(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra harness")
    kept = cells.Kept(None)
    ablation.save(kept, tmp_path)
    assert not list(tmp_path.iterdir())  # nothing is complete: no figure that shows nothing
    factors = {"second edition": 1.0, "first edition": 1.34, "- 24 candidates": 1.25, "no spread": 1.03}
    for variant, factor in factors.items():
        for space, tasks in (("mid", ablation.MID), ("narrow", ablation.NARROW)):
            for task in tasks[variant == "no spread" :]:  # one of its tasks is missing
                times = {seed: {"time": factor * (10 + seed), "reached": True} for seed in range(16)}
                kept.add(times, variant=variant, scheduler="asha_stopping", space=space, task=task)
    assert [row.variant for row in ablation._panel(kept, "mid", 0)] == ["first edition", "- 24 candidates"]
    ablation.save(kept, tmp_path, first=0)
    text = (tmp_path / "ablation.svg").read_text("utf-8")
    for shown in ("first edition", "- 24 candidates", "mid space", "narrow space", "the second without one"):
        assert f">{shown}</text>" in text
    assert text.count(">1.34</text>") == text.count(">1.25</text>") == 2
    assert "no spread" not in text and "tried beside" not in text


def test_priors_under_adamw_are_compared_by_task_and_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "UNITS", 12)
    monkeypatch.setattr(cells, "_KEPT", {})
    found = cells.run("digits_mlp", cells.ADAMW, adamw.stopping, "none", (7, 8), 0.5)
    prepared, spec = cells._KEPT["digits_mlp", cells.ADAMW]
    assert type(prepared.task.optimizer).__name__ == "AdamW" and spec["space"]["lr"]["low"] == 1e-5
    assert adamw.stopping(prepared.task.space).rungs == (3, 9, 27) and len(found) == 2
    kept = cells.Kept(tmp_path / "adamw.jsonl")
    for prior, factor in (("tables", 1.0), ("mine", 0.5)):
        for task in ("a", "b"):
            times = {seed: {"time": factor * (seed + 3), "reached": seed > 0} for seed in range(4)}
            kept.add(times, prior=prior, task=task)
    text = adamw.table(kept, ["tables", adamw.label("folder/mine.json"), "absent"], ["a", "b"], 0)
    assert "| mine | 0.50 [0.50, 0.50] | 6 of 8 | 0.50 | 0.50 |" in text and "absent" not in text
