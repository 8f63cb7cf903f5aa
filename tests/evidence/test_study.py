import json
import math

import numpy as np
import pytest

from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.verdicts.benefit import gradient_and_benefit
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.evidence.verdicts.criteria import judge_criteria
from hypernudge.evidence.verdicts.shift import hyperparameter_shifts, kl_divergence
from hypernudge.results.digests import record_digest
from hypernudge.results.plan import ResultsError
from tests.evidence.synthetic import edit_record, write_study

CELL = "digits_mlp-asha-literal/cells/seed-0003.json"


def test_every_planned_cell_has_a_row_and_winners_hold_the_final_score(small_study):
    study = load_study(small_study)
    assert len(study.cells) == 2 * 3 * 10
    assert (study.cells["status"] == "completed").all()
    assert study.problems == ()
    assert study.trials.groupby("cell")["winner"].sum().tolist() == [1] * 60
    record = json.loads((small_study / CELL).read_text())
    row = study.cells[(study.cells["run_id"] == "digits_mlp-asha-literal") & (study.cells["seed"] == 3)].iloc[
        0
    ]
    scores = [s for s in record["curve"]["validation"] if s is not None]
    assert row["final"] == max(scores)
    reaching = [
        t
        for t, s in zip(record["curve"]["time"], record["curve"]["validation"], strict=True)
        if s and s >= 0.8
    ]
    assert (row["time"], row["reached"]) == ((reaching[0], True) if reaching else (90.0, False))
    winner = study.trials[(study.trials["cell"] == row.name) & study.trials["winner"]].iloc[0]["trial"]
    assert record["curve"]["trial"][record["curve"]["validation"].index(max(scores))] == winner


def set_digest_stale(record):
    record["curve"]["validation"][0] = 0.123


def backwards(record):
    record["curve"]["time"][3] = record["curve"]["time"][2] - 0.5


DAMAGES = {
    "truncated": (lambda path: path.write_text(path.read_text()[:500]), "unreadable"),
    "empty": (lambda path: path.write_text(""), "unreadable"),
    "not utf-8": (lambda path: path.write_bytes(b"\xff\xfe{}"), "unreadable"),
    "NaN token": (lambda path: path.write_text(path.read_text().replace("0.9", "NaN", 1)), "NaN is not JSON"),
    "another object": (lambda path: path.write_text("[1, 2]"), "not a cell record"),
    "tampered": (
        lambda path: path.write_text(
            path.read_text().replace('"status": "completed"', '"status": "crashed"')
        ),
        "digest",
    ),
    "backwards": (lambda path: edit_record(path, backwards), "time goes backwards at curve entry 3"),
    "zero time": (lambda path: edit_record(path, lambda r: r["curve"]["time"].__setitem__(0, 0)), "positive"),
    "ragged": (lambda path: edit_record(path, lambda r: r["curve"]["test"].pop()), "different lengths"),
    "wrong seed": (lambda path: edit_record(path, lambda r: r["cell"].update(seed=4)), "cell.seed is 4"),
    "no bill": (lambda path: edit_record(path, lambda r: r.pop("bill")), "bill"),
    "no milestones": (
        lambda path: edit_record(path, lambda r: r["trials"][0].pop("milestones")),
        "milestones",
    ),
    "bad budget": (
        lambda path: edit_record(path, lambda r: r["declared"].update(budget_seconds=0)),
        "budget",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named_and_counts_as_missing(study_copy, damage):
    break_it, rule = DAMAGES[damage]
    break_it(study_copy / CELL)
    study = load_study(study_copy)
    (problem,) = study.problems
    assert (problem.where, problem.run_id) == (CELL, "digits_mlp-asha-literal")
    assert rule in problem.rule
    missing = study.cells[study.cells["status"] == "missing"]
    assert missing[["run_id", "seed"]].to_numpy().tolist() == [["digits_mlp-asha-literal", 3]]


def test_an_unplanned_record_and_a_changed_target_are_reported(study_copy):
    path = study_copy / CELL
    path.with_name("seed-0099.json").write_text(path.read_text())
    edit_record(path, lambda record: record["declared"].update(target=0.5))
    rules = {problem.where: problem for problem in load_study(study_copy).problems}
    assert "not in the plan" in rules[CELL.replace("0003", "0099")].rule
    assert rules[CELL].consequence == "the plan's target is used"


def test_unequal_budgets_are_evaluated_at_the_smallest(study_copy):
    edit_record(study_copy / CELL, lambda record: record["declared"].update(budget_seconds=50.0))
    study = load_study(study_copy)
    assert any("budgets differ" in problem.rule for problem in study.problems)
    own = study.cells[study.cells["task"] == "digits_mlp"]
    assert own["time"].max() <= 50.0
    assert study.cells[study.cells["task"] == "digits_cnn"]["budget"].max() == 90.0


def test_a_crashed_cell_is_censored_and_ends_at_what_it_had_seen(study_copy):
    before = load_study(study_copy).cells.set_index(["run_id", "seed"]).loc[("digits_mlp-asha-literal", 3)]
    edit_record(study_copy / CELL, lambda record: record.update(status="crashed"))
    row = load_study(study_copy).cells.set_index(["run_id", "seed"]).loc[("digits_mlp-asha-literal", 3)]
    assert (row["time"], row["reached"], row["final"]) == (90.0, False, before["final"])

    def lose_everything(record):
        record["curve"] = {name: [] for name in record["curve"]}
        record["trials"] = []

    edit_record(study_copy / CELL, lose_everything)
    row = load_study(study_copy).cells.set_index(["run_id", "seed"]).loc[("digits_mlp-asha-literal", 3)]
    assert (row["final"], row["auc"], row["reached"]) == (0.0, 0.0, False)


def test_an_open_metric_range_takes_the_worst_score_of_the_task(study_copy):
    for path in study_copy.glob("digits_mlp-*/cells/*.json"):
        edit_record(path, lambda record: record["declared"].update(metric_range=[None, None]))
    study = load_study(study_copy)
    floors = study.cells.groupby("task")["floor"].unique()
    assert floors["digits_cnn"].tolist() == [0.0]
    assert len(floors["digits_mlp"]) == 1
    assert 0.0 <= floors["digits_mlp"][0] < 0.5


def test_digest_ignores_the_wall_and_nothing_else():
    record = {"format": 1, "curve": {"time": [1.0]}, "wall": {"total_seconds": 3.0}}
    digest = record_digest(record)
    assert record_digest({**record, "wall": {}, "digest": "x"}) == digest
    assert record_digest({**record, "format": 2}) != digest
    with pytest.raises(ValueError, match="not JSON compliant"):
        record_digest({"curve": math.nan})


def plan_of(root, change):
    plan = json.loads((root / "plan.json").read_text())
    change(plan)
    (root / "plan.json").write_text(json.dumps(plan))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: plan.update(format=2), "format must be 1"),
        (lambda plan: plan.update(variations={}), "at least one run id"),
        (lambda plan: plan["variations"]["digits_mlp-asha-literal"].pop("target"), "lacks target"),
        (lambda plan: plan["variations"]["digits_mlp-asha-literal"].update(seeds=[1, 1]), "must not repeat"),
        (lambda plan: plan["variations"]["digits_mlp-asha-literal"].update(seeds=[]), "non-empty list"),
        (lambda plan: plan["variations"]["digits_mlp-asha-literal"].update(target="high"), "finite number"),
        (lambda plan: plan["variations"]["digits_mlp-asha-literal"].update(warm_start="none"), "share task"),
        (lambda plan: plan["variations"].pop("digits_mlp-asha-none"), "has no baseline"),
        (lambda plan: plan.update(evidence={"alpha": 2}), "evidence.alpha"),
        (lambda plan: plan.update(evidence={"alhpa": 0.05}), "unknown keys alhpa"),
        (lambda plan: plan.update(evidence=[]), "evidence must be a mapping"),
    ],
)
def test_a_broken_plan_is_refused(study_copy, change, message):
    plan_of(study_copy, change)
    with pytest.raises(ResultsError, match=message):
        compare(load_study(study_copy))


def test_no_plan_or_no_json_is_refused(tmp_path):
    with pytest.raises(ResultsError, match=r"plan\.json does not exist"):
        load_study(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ResultsError, match="not valid JSON"):
        load_study(tmp_path)


def test_families(study_copy):
    sizes = {}
    for families in ("all", "warm_start", "task"):
        plan_of(study_copy, lambda plan, f=families: plan.update(evidence={"families": f}))
        comparisons = compare(load_study(study_copy))
        sizes[families] = [(c.family, c.family_size) for c in comparisons]
        assert all(c.p_holm >= c.test.p_value for c in comparisons)
    assert sizes["all"] == [("all", 4)] * 4
    assert sizes["warm_start"] == [("literal", 2), ("curvature_band", 2)] * 2
    assert sizes["task"] == [("digits_mlp", 2)] * 2 + [("digits_cnn", 2)] * 2


def test_a_method_equal_to_its_baseline_is_equivalent_and_one_that_is_sooner_improves(tmp_path):
    root = write_study(
        tmp_path / "s", tasks=("a",), methods=("none", "random_step"), seeds=range(12), target=0.6
    )

    def copy_baseline(factor):
        for seed in range(12):
            record = json.loads((root / f"a-asha-none/cells/seed-{seed:04d}.json").read_text())
            record["cell"].update(run_id="a-asha-random_step", warm_start="random_step")
            record["curve"]["time"] = [factor * time for time in record["curve"]["time"]]
            record["digest"] = record_digest(record)
            (root / f"a-asha-random_step/cells/seed-{seed:04d}.json").write_text(json.dumps(record))

    copy_baseline(1.0)
    (same,) = compare(load_study(root))
    assert (same.verdict.label, same.test.p_value, same.test.ties) == ("equivalent", 1.0, 12)
    copy_baseline(0.7)
    study = load_study(root)
    comparisons = compare(study)
    assert comparisons[0].verdict.label == "improved"
    assert comparisons[0].effects.ratio_joint.estimate == pytest.approx(0.7)
    criterion = judge_criteria(comparisons, study.plan.criteria)[0]
    assert (criterion.name, criterion.met, criterion.judgement) == ("time_to_target", 1, "supported")


def test_missing_settings_keep_a_claim_open(tmp_path):
    root = write_study(
        tmp_path / "s", tasks=("a", "b", "c"), methods=("none", "literal"), seeds=range(6), target=0.6
    )
    for task in "abc":
        (root / f"{task}-asha-literal/cells/seed-0001.json").unlink()
    study = load_study(root)
    comparisons = compare(study)
    assert [(c.status, c.missing, c.verdict.label) for c in comparisons] == [
        ("incomplete", 1, "unpowered")
    ] * 3
    first = judge_criteria(comparisons, study.plan.criteria)[0]
    assert (first.met, first.open, first.planned) == (0, 3, 3)
    assert first.judgement == "incomplete"
    assert first.share.low == 0.0


def test_shift_finds_what_was_moved(small_study):
    study = load_study(small_study)
    for method, moved in (("none", False), ("curvature_band", True)):
        shifts = {
            s.name: s for s in hyperparameter_shifts(study.trials[study.trials["warm_start"] == method])
        }
        rate = shifts["learning_rate"]
        assert rate.log_scale
        assert not shifts["momentum"].log_scale
        assert (rate.nudged_shift > 0.3) == moved
        assert (rate.nudged_kl > 0.1) == moved
        assert shifts["momentum"].nudged_shift == 0.0
        assert rate.winner.size == 20


def test_kl_divergence():
    rng = np.random.default_rng(0)
    x = rng.normal(size=5000)
    assert kl_divergence(x, x) == 0.0
    assert kl_divergence(x + 1.0, x) > kl_divergence(x + 0.2, x) > 0.0
    # Bins follow the quantiles of the reference, so a monotone change of scale changes nothing.
    assert kl_divergence(np.exp(x[:100]), np.exp(x)) == pytest.approx(kl_divergence(x[:100], x), abs=1e-12)
    assert math.isnan(kl_divergence(np.zeros(0), x))


def test_benefit_pairs_trials_with_equal_draws(small_study):
    trials = load_study(small_study).trials
    method, baseline = (
        trials[trials["run_id"] == f"digits_mlp-asha-{name}"].copy() for name in ("curvature_band", "none")
    )
    frame = gradient_and_benefit(method, baseline)
    assert len(frame) > 300
    row = frame.iloc[0]
    pair = [
        t[(t["seed"] == row["seed"]) & (t["trial"] == row["trial"])]["first_score"].iloc[0]
        for t in (method, baseline)
    ]
    assert row["benefit"] == pair[0] - pair[1]
    baseline["sampled.momentum"] += 0.1
    assert gradient_and_benefit(method, baseline).empty
