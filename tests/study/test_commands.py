"""`status`, `report`, `explain` and `doctor` on the folder of a kept study; the others say what to use."""

import json

import pytest

from hypernudge import Study, tune
from hypernudge.cli.app import main
from hypernudge.results.files import lock
from hypernudge.study.store import BEST, FILE, LOCK
from tests.study.tools import SPACE, asha, module


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "mine"
    tune(module(), asha(SPACE), seed=0, workers=2, warm_start="literal", study=folder)
    return folder


def said(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_status_says_how_far_a_study_is(study, capsys):
    read = Study.open(study)
    code, out, _ = said(capsys, "status", study)
    assert code == 0 and f"best: {read.best_value:.6g}, trial {read.best_trial.number}" in out
    assert "trials by units: " in out and "ended by its scheduler" in out
    out_for_people = out
    code, out, _ = said(capsys, "status", study, "--json")
    found = json.loads(out)
    assert found["best"] == {
        "trial": read.best_trial.number,
        "unit": read.best()[1].unit,
        "score": read.best_value,
    }
    assert sum(found["trials"].values()) == sum(found["trials_by_units"].values()) == len(read.trials)
    assert found["ended"] == "scheduler" and found["held_by"] is None
    assert found["trials"]["finished"] == found["trials_by_units"]["9"] > 0
    counts = f"{found['trials']['finished']} finished, {found['trials']['paused']} paused"
    assert counts in out_for_people
    assert found["last_report_seconds"] == read.reports[-1].finished


def test_status_says_who_is_at_work(tmp_path, capsys):
    seen = []

    def look(study, report):
        if len(study.reports) == 4:
            seen.append(said(capsys, "status", tmp_path)[1])
            study.stop()

    tune(module(), asha(SPACE), seed=0, study=tmp_path, callbacks=[look])
    assert "is at work on it" in seen[0] and "process " in seen[0]
    assert "nobody is at work on it; the script that began it goes on" in said(capsys, "status", tmp_path)[1]


def test_report_is_a_summary_and_says_where_verdicts_come_from(study, tmp_path, capsys):
    page = tmp_path / "page.html"
    code, out, err = said(capsys, "report", study, "--html", page)
    assert code == 0 and json.loads(out)["ended"] == "scheduler"
    assert repr(Study.open(study)).splitlines()[0] in err and "to_long_form()" in err
    assert "Study of module, ASHA, warm start literal, seed 0" in page.read_text()
    code, out, err = said(capsys, "report", study, "--quiet")
    assert code == 0 and "Study of module" in out
    code, out, err = said(capsys, "report", study, "--notebook", tmp_path / "n.ipynb")
    assert code == 2 and err.startswith("error: --notebook: needs results of `hypernudge run`")


def test_explain_tells_of_each_trial(study, capsys):
    read = Study.open(study)
    code, out, _ = said(capsys, "explain", study)
    lines = [line for line in out.splitlines() if line.startswith("mine seed 0 trial")]
    assert code == 0 and len(lines) == len(read.trials)
    for trial, line in zip(read.trials, lines, strict=True):
        whole = trial.status == "paused" and trial.units[-1].unit == 9
        assert line.endswith(", finished" if whole else f", {trial.status}"), line
    code, out, _ = said(capsys, "explain", study, "--trial", 3, "--json")
    (row,) = map(json.loads, out.splitlines())
    assert (row["trial"], row["units"], row["policy"]) == (3, len(read.trials[3].units), "literal")
    assert row["flops"] == read.trials[3].nudge.flops
    for words, line in (
        (("--trial", 99), "--trial: must be one of the study's 12 trials, but got 99; see `status`"),
        (("--seed", 0), "--seed: must be left out for a single study, but got 0; leave it out"),
        (("--run-id", "a"), "--run-id: must be left out for a single study, but got 'a'; leave it out"),
    ):
        code, _, err = said(capsys, "explain", study, *words)
        assert code == 2 and err == f"error: {line}\n"


def test_doctor_looks_at_the_file_and_the_weights(tmp_path, capsys):
    folder = tmp_path / "mine"
    tune(module(), asha(SPACE), seed=0, study=folder)
    assert said(capsys, "doctor", folder)[:2] == (0, "healthy\n")
    (folder / BEST / ".trial-00001-unit-00001.pt.abcd1234").write_bytes(b"torn")
    code, out, _ = said(capsys, "doctor", folder)
    assert code == 1 and "left over: best/.trial-00001-unit-00001.pt.abcd1234" in out and "--fix" in out
    code, out, _ = said(capsys, "doctor", folder, "--fix")
    assert code == 0 and "; removed" in out
    (weights,) = (folder / BEST).iterdir()
    weights.write_bytes(b"other")
    code, out, _ = said(capsys, "doctor", folder, "--json")
    (finding,) = json.loads(out)["findings"]
    assert code == 1 and finding["path"] == f"best/{weights.name}" and "cannot be read" in finding["rule"]
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content.replace(b'"job"', b'"jab"', 1))
    code, out, _ = said(capsys, "doctor", folder)
    assert code == 1 and out.startswith(f"damaged: {FILE}: ") and "was changed after it was written" in out


def test_doctor_fixes_nothing_of_a_live_writer(tmp_path, capsys):
    tune(module(), asha(SPACE, 2, 1), seed=0, study=tmp_path)
    with lock(tmp_path / LOCK) as mine:
        assert mine
        code, out, _ = said(capsys, "doctor", tmp_path, "--fix")
    assert code == 0 and "running: study.jsonl: a process is at work on it" in out


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (("export", "{}", "--to", "mlflow"), "to_frame()"),
        (("prior", "build", "{}", "--output", "{}/p.json", "--features", "probe"), "--features space"),
    ],
)
def test_other_commands_say_what_to_use_instead(words, instead, study, capsys):
    code, _, err = said(capsys, *(word.format(study) for word in words))
    assert (
        code == 2
        and err.startswith("error: DIR: must be results of `hypernudge run`, but got")
        and instead in err
    )


def test_a_damaged_study_is_one_line(tmp_path, capsys):
    (tmp_path / FILE).write_text("{}\n")
    for command in ("status", "report", "explain"):
        code, _, err = said(capsys, command, tmp_path)
        assert code == 2 and err.count("\n") == 1 and "line 1 was changed" in err
