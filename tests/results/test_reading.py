"""One reader for records and plans: what is edited, foreign, odd or endless is named in one line."""

import json
import os

import pytest

from hypernudge.cli import main
from hypernudge.evidence.loading.study import load_study
from hypernudge.harness.cells.records import crashed, seal_record
from hypernudge.harness.planning.resolve import resolve_plan
from hypernudge.results.digests import record_digest
from hypernudge.results.names import LONGEST, broken_rule
from hypernudge.results.plan import ResultsError, read_manifest
from hypernudge.results.reading import DEEPEST, UnreadableError, check_output, parse_json, read_json
from hypernudge.results.records import DamagedRecordError, cell_path, read_record

SEEDS = range(6)


def plan_of(folder, **common):
    shared = {"task": "digits_mlp", "target": 0.9, "budget": {"units": 9}, "seeds": list(SEEDS), **common}
    return resolve_plan(
        {"common": shared, "variations": {"plain": {}, "band": {"warm_start": "probe_band"}}}, folder
    )


@pytest.fixture
def results(tmp_path):
    """A planned study of two variations, every cell with a record."""
    return written(tmp_path / "results", plan_of(tmp_path))


def written(directory, plan, ran=None):
    """Write a manifest, and records of cells that crashed, of another plan if given."""
    directory.mkdir()
    (directory / "plan.json").write_text(json.dumps(plan.as_dict()))
    for variation in (ran or plan).variations:
        for seed in variation.seeds:
            path = cell_path(directory / variation.run_id, seed)
            declared = {"target": 0.9, "budget_seconds": 1.0, "metric_range": [0.0, 1.0]}
            seal_record(path, crashed(variation, seed, declared, "out of luck"))
    return directory


def read(results, seed=0):
    manifest = read_manifest(results)
    return read_record(cell_path(results / "band", seed), manifest.planned(manifest["band"], seed))


def edited(path, change):
    """Change a record and seal it again."""
    record = json.loads(path.read_text())
    change(record)
    record["digest"] = record_digest(record)
    path.write_text(json.dumps(record))


def replaced(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


DAMAGE = {
    "edited": (lambda p: replaced(p, "out of luck", "in luck"), "changed after it was sealed"),
    "of another seed": (lambda p: p.write_text(p.with_name("seed-0003.json").read_text()), "cell.seed is 3"),
    "of another variation": (
        lambda p: p.write_text((p.parents[2] / "plain/cells/seed-0000.json").read_text()),
        "cell.run_id is 'plain'",
    ),
    "of another configuration": (lambda p: edited(p, lambda r: r["cell"].update(key="0")), "configuration"),
    "seed true": (lambda p: edited(p, lambda r: r["cell"].update(seed=False)), "cell.seed is False"),
    "NaN": (lambda p: replaced(p, "1.0", "NaN"), "NaN is not JSON"),
    "Infinity": (lambda p: replaced(p, "1.0", "-Infinity"), "Infinity is not JSON"),
    "infinite by size": (lambda p: replaced(p, "1.0", "1e999"), "out of range"),
    "endless number": (lambda p: replaced(p, "1.0", "1" * 5000), "out of range"),
    "twice": (lambda p: replaced(p, '"format": 1', '"format": 1, "format": 1'), "stands twice"),
    "truncated": (lambda p: p.write_text(p.read_text()[:50]), "not valid JSON"),
    "empty": (lambda p: p.write_text(""), "not valid JSON"),
    "binary": (lambda p: p.write_bytes(b"\xff\x00\xfe"), "not UTF-8"),
    "null": (lambda p: p.write_text("null"), "not a cell record"),
    "a list": (lambda p: p.write_text("[1]"), "not a cell record"),
    "a number": (lambda p: p.write_text("3"), "not a cell record"),
    "nested": (lambda p: p.write_text("[" * 100_000), "nested deeper"),
    "nested and whole": (lambda p: p.write_text('{"a":' * 500 + "1" + "}" * 500), "nested deeper"),
    "half a letter": (lambda p: replaced(p, "out of luck", "\\ud800"), "surrogate"),
    "a directory": (lambda p: (p.unlink(), p.mkdir()), "it is a directory"),
    "a pipe": (lambda p: (p.unlink(), os.mkfifo(p)), "no regular file"),
    "no such trial": (lambda p: edited(p, lambda r: r.update(trials=[{}])), "not a cell record"),
    "text for a score": (
        lambda p: edited(
            p,
            lambda r: r.update(
                curve={"time": [1], "trial": [0], "unit": [1], "validation": ["1"], "test": [None]}
            ),
        ),
        "curve.validation must hold numbers",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_no_record_of_this_cell_is_named_everywhere(results, kind, capsys):
    assert read(results)["status"] == "crashed"
    damage, rule = DAMAGE[kind]
    damage(cell_path(results / "band", 0))
    with pytest.raises(DamagedRecordError, match=r"seed-0000\.json") as error:
        read(results)
    assert rule in error.value.rule and "\n" not in str(error.value)
    assert main(["status", str(results), "--json"]) == 0
    rows = {row["run_id"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["plain"]["crashed"] == list(SEEDS) and rows["band"]["crashed"] == list(SEEDS)[1:]
    assert rule in rows["band"]["damaged"]["0"]
    assert main(["status", str(results)]) == 0  # as a table, too
    shown = capsys.readouterr().out
    assert any("band seed 0 is damaged" in line and rule in line for line in shown.splitlines()), "one line"
    assert "doctor DIR --fix` moves them aside" in shown
    study = load_study(results)
    (problem,) = (p for p in study.problems if p.where.endswith(".json"))
    assert problem.where == "band/cells/seed-0000.json" and rule in problem.rule
    assert study.cells["status"].tolist().count("missing") == 1


def test_records_of_another_configuration_are_not_evaluated(tmp_path):
    """Under the same names: the key tells them apart."""
    mine = written(tmp_path / "mine", plan_of(tmp_path), ran=plan_of(tmp_path, training={"batch_size": 8}))
    study = load_study(mine)
    assert set(study.cells["status"]) == {"missing"}
    assert all("configuration" in p.rule for p in study.problems if p.where.endswith(".json"))


def test_records_of_a_recorded_deviation_are_evaluated(tmp_path):
    from hypernudge.harness.running.declare import record_deviation

    plan = plan_of(tmp_path)
    ran = plan_of(tmp_path, training={"batch_size": 8, "steps_per_unit": 4}, target=0.8)
    results = written(tmp_path / "results", plan, ran=ran)
    record_deviation(results, read_manifest(results), ran, "a smaller machine")
    study = load_study(results)
    assert set(study.cells["status"]) == {"crashed"}
    assert any("a smaller machine" in problem.consequence for problem in study.problems)
    path = results / "deviations.jsonl"
    path.write_text(path.read_text().replace("0.8", "0.7"))  # no longer what was hashed
    assert set(load_study(results).cells["status"]) == {"missing"}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{}", "format must be 1"),
        ("[]", "format must be 1"),
        ("null", "format must be 1"),
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"format": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "nested deeper"),
        ('{"format": 1, "variations": []}', "at least one run id"),
        ('{"format": 1, "variations": {"a": 1}}', "must be a mapping"),
    ],
)
def test_a_plan_that_is_none_is_refused_in_one_line(tmp_path, text, rule, capsys):
    (tmp_path / "plan.json").write_text(text)
    for command in (["status"], ["report"], ["export", "--to", "wandb"]):
        assert main([command[0], str(tmp_path), *command[1:]]) == 2, command
        error = capsys.readouterr().err
        assert rule in error and len(error.splitlines()) == 1, command


BAD_IDS = [
    *("../escape", "/absolute", "a/b", "a\\b", "..", ".", ".hidden", "", "a\0b", "a\nb", "tables", "FIGURES"),
    *("plan.json", "evaluation", "evaluation.json", "nul", "COM1.txt", "ends.", "x" * (LONGEST + 1), "{x}"),
]


@pytest.mark.parametrize("run_id", BAD_IDS)
def test_a_run_id_is_never_trusted_as_a_path(tmp_path, run_id):
    assert broken_rule(run_id) is not None
    entry = {"task": "t", "scheduler": "s", "warm_start": "w", "seeds": [0], "target": 1, "metric": "m"}
    (tmp_path / "plan.json").write_text(json.dumps({"format": 1, "variations": {run_id: entry}}))
    with pytest.raises(ResultsError, match="a run id must"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("run_id", ["asha", "digits_mlp-asha-none", "A.1+b_c-d", "0", "x" * LONGEST])
def test_usual_run_ids_are_taken(run_id):
    assert broken_rule(run_id) is None


def test_nesting_is_counted():
    assert parse_json("[" * DEEPEST + "]" * DEEPEST)
    with pytest.raises(UnreadableError, match="nested"):
        parse_json("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))


def test_a_whole_pair_of_surrogates_is_a_letter(tmp_path):
    (tmp_path / "x.json").write_text('["\\ud83d\\ude00"]')
    assert read_json(tmp_path / "x.json") == ["\U0001f600"]


def test_nothing_is_written_through_a_link_within_the_directory(tmp_path):
    results, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    results.mkdir()
    elsewhere.mkdir()
    (results / "tables").symlink_to(elsewhere)
    (results / "figures").write_text("")
    (tmp_path / "alias").symlink_to(results)
    for path in ("tables/x.csv", "tables/deeper/x.csv", "figures/x.pdf"):
        with pytest.raises(ValueError, match="must be"):
            check_output(results / path, results)
    for path in (results / "x.json", results / "new" / "x", elsewhere / "x", results / "../elsewhere/x"):
        assert check_output(path, results) == path
    assert check_output(tmp_path / "alias" / "x.json", tmp_path / "alias")  # the user's own link


def test_run_leaves_a_damaged_record_alone_and_refuses_a_foreign_one(tmp_path, capsys):
    from hypernudge.errors import InvalidArgumentError
    from hypernudge.harness.running.train import train

    plan = plan_of(tmp_path)
    results = written(tmp_path / "results", plan)
    path = cell_path(results / "band", 2)
    text = path.read_text()
    replaced(path, "out of luck", "in luck")
    assert train(plan, plan["band"], results / "band") == 1
    shown = capsys.readouterr()
    assert "seed-0002.json" in shown.err and "move it aside" in shown.err and len(shown.err.splitlines()) == 2
    assert shown.err.splitlines()[1] == "band: all of its 5 cells crashed, the first with out of luck"
    events = [json.loads(line) for line in shown.out.splitlines() if line.startswith("{")]
    (missing,) = (event for event in events if event["event"] == "missing")
    assert missing["seed"] == 2 and "changed after it was sealed" in missing["reason"]
    assert sum(event["event"] == "cell" for event in events) == 5  # the rest goes on
    path.write_text(text)
    edited(path, lambda record: record["cell"].update(key="0"))
    with pytest.raises(InvalidArgumentError, match=r"seed-0002\.json must belong to this configuration"):
        train(plan, plan["band"], results / "band")
