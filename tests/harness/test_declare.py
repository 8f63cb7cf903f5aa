"""Plans are declared before the runs, and what deviates from them is refused or on record."""

import json
import re
import sys

import pytest

from hypernudge.cli import main
from hypernudge.console import Output
from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.loading.deviations import deviations
from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.report.html import write_report
from hypernudge.harness.planning.resolve import load_plan, resolve_plan
from hypernudge.harness.running import declare as module
from hypernudge.harness.running.declare import declare, with_declared_targets
from hypernudge.harness.running.run import run_experiment
from hypernudge.results.digests import plan_digest
from hypernudge.results.plan import read_manifest

EXPERIMENT = """
name: tiny
common:
  task: digits_mlp
  scheduler: {{name: asha, max_units: 3}}
  budget: {{units: 3}}
  target: {target}
  seeds: {{first: 0, count: {seeds}}}
variations:
  plain: {{warm_start: none}}
  random: {{warm_start: random_step}}
evidence: {{families: warm_start{more}}}
"""


def write(path, target=0.5, seeds=6, more=""):
    path.write_text(EXPERIMENT.format(target=target, seeds=seeds, more=more))
    return path


def test_a_plan_is_written_hashed_and_weighed(tmp_path, capsys):
    file, results = write(tmp_path / "e.yaml"), tmp_path / "results"
    assert main(["plan", str(file), "--results-dir", str(results)]) == 0
    said = capsys.readouterr().out
    assert "random: 6 pairs, family of 1, least Holm p 0.031, power" in said
    assert "control gradient_free is missing in digits_mlp / asha" in said
    manifest = json.loads((results / "plan.json").read_text())
    assert manifest["hash"] == load_plan(file).hash
    assert manifest["declared"]["tau_rule"] == "set in the configuration"
    assert {row["role"] for row in manifest["declared"]["controls"]} >= {
        "placebo",
        "random_step",
        "gradient_free",
    }
    assert main(["plan", str(file), "--results-dir", str(results)]) == 2
    assert "must be empty" in capsys.readouterr().err


def test_a_plan_that_can_show_nothing_is_refused(tmp_path, capsys):
    file = tmp_path / "e.yaml"
    text = EXPERIMENT.format(target=0.5, seeds=6, more="").replace("families: warm_start", "families: all")
    file.write_text(text.replace("evidence:", "  other: {warm_start: multi_step}\nevidence:"))
    arguments = ["plan", str(file), "--results-dir", str(tmp_path / "r")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "at least 7 seeds" in error
    assert not (tmp_path / "r").exists()
    assert main([*arguments, "--exploratory"]) == 0


def test_targets_from_pilot_seeds_are_frozen_and_found_again(tmp_path):
    file, results = write(tmp_path / "e.yaml", target="pilot"), tmp_path / "results"
    plan = load_plan(file)
    with pytest.raises(InvalidArgumentError, match="freeze it first"):
        with_declared_targets(plan, results)
    with pytest.raises(InvalidArgumentError, match="must not be test seeds"):
        declare(plan, results, pilot_seeds=range(5, 8), log_sd=0.4)
    manifest = declare(plan, results, pilot_seeds=range(100, 103), log_sd=0.4)
    targets = {entry["target"] for entry in manifest["variations"].values()}
    (pilot,) = manifest["declared"]["pilots"]
    assert targets == {pilot["target"]} == {sorted(pilot["best_at"])[1]}
    assert pilot["seeds"] == [100, 101, 102]
    assert with_declared_targets(plan, results).hash == manifest["hash"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.yaml", "results"]


def test_a_pilot_that_is_interrupted_keeps_what_is_done(tmp_path, monkeypatch):
    file, results = write(tmp_path / "e.yaml", target="pilot"), tmp_path / "results"
    whole = module.pilot

    def interrupted(plan, seeds, directory, say):
        yield from whole(plan, seeds[:1], directory, say)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "pilot", interrupted)
    with pytest.raises(KeyboardInterrupt):
        declare(load_plan(file), results, pilot_seeds=range(100, 102), log_sd=0.4)
    (folder,) = tmp_path.glob(".results.pilot-*")
    (record,) = folder.glob("*/cells/*.json")
    before = record.stat().st_mtime_ns

    def resumed(plan, seeds, directory, say):
        yield from whole(plan, seeds, directory, say)
        assert record.stat().st_mtime_ns == before and len(list(record.parent.glob("*.json"))) == 2

    monkeypatch.setattr(module, "pilot", resumed)
    declare(load_plan(file), results, pilot_seeds=range(100, 102), log_sd=0.4)
    assert not folder.exists()


def test_a_pilot_of_a_quiet_run_says_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hypernudge.cli.experiment.SELF", ["true"])
    monkeypatch.setattr("hypernudge.harness.running.declare.PILOT_SEEDS", (100, 1))
    file, results = write(tmp_path / "e.yaml", target="pilot"), tmp_path / "results"
    assert main(["run", str(file), "--results-dir", str(results), "--quiet", "common.seeds.count=1"]) == 0
    assert "pilot" not in capsys.readouterr().err


def run(file, results, deviate=None):
    nothing = ["true"]
    return run_experiment(file, results, [], nothing, nothing, deviate)


def test_run_refuses_another_plan_unless_the_deviation_is_on_record(tmp_path):
    file, results = write(tmp_path / "e.yaml"), tmp_path / "results"
    declare(load_plan(file), results, pilot_seeds=[], log_sd=0.4)
    assert run(file, results) == 0
    assert list(deviations(read_manifest(results))) == []
    write(file, target=0.4)
    with pytest.raises(InvalidArgumentError, match=r"variations\.plain\.target: 0\.5 -> 0\.4.*--deviate"):
        run(file, results)
    assert run(file, results, "the pilot was wrong") == 0
    assert run(file, results) == 0
    (deviation,) = deviations(read_manifest(results))
    assert "variations.random.target: 0.5 -> 0.4" in deviation.rule
    assert "the pilot was wrong" in deviation.consequence
    problems = load_study(results).problems
    assert any("deviates from the plan" in problem.rule for problem in problems)
    assert json.loads((results / "plan.json").read_text())["variations"]["plain"]["target"] == 0.5


def test_a_manifest_changed_after_hashing_is_flagged(tmp_path):
    file, results = write(tmp_path / "e.yaml"), tmp_path / "results"
    declare(load_plan(file), results, pilot_seeds=[], log_sd=0.4)
    path = results / "plan.json"
    manifest = json.loads(path.read_text())
    manifest["variations"]["plain"]["target"] = 0.3
    path.write_text(json.dumps(manifest))
    assert ["differ" in d.rule for d in deviations(read_manifest(results))] == [True]
    manifest["evidence"]["alpha"] = 0.2
    path.write_text(json.dumps(manifest))
    assert "changed after it was hashed" in next(iter(deviations(read_manifest(results)))).rule


def test_both_sides_hash_alike_and_controls_are_named(tmp_path):
    plan = load_plan(write(tmp_path / "e.yaml", more=", controls: {rival: halving}"))
    assert plan_digest({v.run_id: v.spec for v in plan.variations}, plan.evidence) == plan.hash
    assert plan.evidence["controls"] == {"rival": "halving"}  # as written, for the hash
    assert Criteria(**plan.evidence).control("gradient_free") == "halving"
    assert Criteria(controls={"gradient_free": "halving"}).control("gradient_free") == "halving"
    raw = {"variations": {"a": {"task": "digits_mlp", "target": 0.5, "budget": {"units": 3}, "seeds": [0]}}}
    assert "controls" not in resolve_plan(raw, tmp_path).evidence


def test_a_run_without_a_plan_declares_it_first_and_a_report_shows_what_changed(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("hypernudge.cli.experiment.SELF", ["true"])  # the evaluation would draw every figure
    monkeypatch.setattr("hypernudge.harness.running.declare.PILOT_SEEDS", (100, 2))
    file, results = write(tmp_path / "e.yaml", target="pilot"), tmp_path / "results"
    arguments = ["run", str(file), "--results-dir", str(results)]
    assert main(arguments) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pilot of ")]
    assert said[0] == "pilot of plain: 2 cells, whose scores give the target"
    assert [line.split(",")[0] for line in said[1:]] == [f"pilot of plain: {done}/2 cells" for done in (1, 2)]
    assert said[2].endswith(", about 0 s left")
    manifest = json.loads((results / "plan.json").read_text())
    (pilot,) = manifest["declared"]["pilots"]
    assert pilot["seeds"] == [100, 101]
    assert {entry["target"] for entry in manifest["variations"].values()} == {pilot["target"]}
    assert manifest["declared"]["power"]["comparisons"][0]["pairs"] == 6
    assert main(arguments) == 0
    assert json.loads((results / "plan.json").read_text()) == manifest
    capsys.readouterr()
    assert main([*arguments, "common.seeds.count=7"]) == 2
    assert "--deviate REASON" in capsys.readouterr().err
    assert main([*arguments, "common.seeds.count=7", "--deviate", "one <more> seed"]) == 0
    write_report(results, tmp_path / "r.html", ())
    text = (tmp_path / "r.html").read_text()
    assert "reason: one &lt;more&gt; seed" in text
    assert "variations.plain.seeds" in text
    assert "plain/cells/seed-0006.json: this cell is not in the plan" in text
    assert pilot["run_id"] in text


def test_a_part_of_a_plan_keeps_the_design_of_the_whole(tmp_path):
    plan = load_plan(write(tmp_path / "e.yaml", more=", factorial: [[random_step, none, none]]"))
    for variation in plan.variations:
        part = tmp_path / f"{variation.run_id}.yaml"
        part.write_text(plan.as_yaml(variation))
        assert load_plan(part).evidence == plan.evidence


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (", factorial: [[random, none]]", "must hold triples"),
        (", factorial: [[random_step, none, both]]", r"must name labels of variations, but got \['both'\]"),
        (
            ", controls: {rivall: none}",
            r"evidence.controls: keys must be among the known ones, but got 'rivall'; did you mean 'rival'",
        ),
        (", controls: {rival: none, gradient_free: none}", "gradient_free: must be given once, but 'rival'"),
        (", ratio: fast", r"evidence.ratio: must be a number in \(0, 1\), but got 'fast'"),
    ],
)
def test_criteria_are_checked_before_anything_runs(tmp_path, more, words):
    with pytest.raises(InvalidArgumentError, match=words):
        load_plan(write(tmp_path / "e.yaml", more=more))


def test_run_ends_with_the_verdicts_of_this_evaluation(tmp_path, capfd):
    file, results = write(tmp_path / "e.yaml", seeds=2), tmp_path / "results"
    evaluate = [sys.executable, "-m", "hypernudge.cli", "report", "--json", "--quiet"]
    assert run_experiment(file, results, [], ["true"], evaluate, output=Output(json=False)) == 1
    captured = capfd.readouterr()
    assert "{" not in captured.out and "warning: random cannot be significant: 2 pairs" in captured.err
    assert re.search(
        r"  unpowered\nrandom_step against none: .*\nINCOMPLETE: 4 cells missing\n$", captured.out
    )
    assert '"event": "comparison"' in (results / "evaluation" / "stdout.log").read_text()
    assert run_experiment(file, results, [], ["true"], ["true"], output=Output(json=False)) == 0
    assert capfd.readouterr().out == "", "that of an earlier run is not shown"
