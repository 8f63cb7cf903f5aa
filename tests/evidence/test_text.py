"""What `report` ends with, and where lines for programs and text for people go."""

import io
import json
import sys

import pytest

from hypernudge.cli import main
from hypernudge.cli.evidence import report
from hypernudge.console import Output
from hypernudge.evidence.report import gallery
from hypernudge.evidence.report.evaluate import evaluate
from hypernudge.evidence.report.text import evaluation_text
from tests.evidence.synthetic import write_study


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr(gallery, "TOPICS", ())


def is_lines(text):
    return all(json.loads(line)["event"] for line in text.splitlines()) and text.count("\n") > 10


def is_text(text):
    """The flags first, then one row per comparison, and one line per method at the end."""
    lines = text.splitlines()
    heading = next(k for k, line in enumerate(lines) if line.startswith("task "))
    rows, methods = lines[heading + 1 : heading + 5], lines[heading + 5 :]
    assert [row.split()[-1] in ("improved", "inconclusive", "equivalent") for row in rows] == [True] * 4
    assert [line.split(": ")[0] for line in methods] == [
        "literal against none",
        "curvature_band against none",
    ]
    assert "time to target" in methods[0] and "of 2)" in methods[0]
    return True


def test_a_pipe_has_the_lines_and_standard_error_ends_with_the_table(study_copy, capsys):
    assert main(["report", str(study_copy)]) == 0
    captured = capsys.readouterr()
    assert is_lines(captured.out) and is_text(captured.err)


@pytest.mark.parametrize(
    ("options", "on_terminal", "out", "err"),
    [
        ([], True, is_text, None),
        (["--json"], True, is_lines, is_text),
        (["--quiet"], True, is_text, None),
        (["--quiet"], False, is_text, None),
        (["--json", "--quiet"], False, is_lines, None),
    ],
    ids=["terminal", "terminal-json", "terminal-quiet", "pipe-quiet", "pipe-json-quiet"],
)
def test_options_say_which(study_copy, capsys, monkeypatch, options, on_terminal, out, err):
    terminal = Terminal()
    if on_terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["report", str(study_copy), *options]) == 0
    captured = capsys.readouterr()
    assert out(terminal.getvalue() if on_terminal else captured.out)
    assert err(captured.err) if err else captured.err == ""


def test_the_front_door_s_output_is_the_lines_alone(study_copy, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    assert report([str(study_copy)]) == 0
    assert is_lines(terminal.getvalue()) and capsys.readouterr().err == ""


def test_a_study_without_comparisons_or_with_missing_cells_says_so(study_copy):
    evaluate(study_copy, lambda event: None)
    whole = json.loads((study_copy / "evaluation.json").read_text())
    text = evaluation_text({**whole, "status": "incomplete", "cells": {"planned": 60, "missing": 1}})
    assert text.splitlines()[-1] == "INCOMPLETE: 1 cell missing"
    alone = evaluation_text({**whole, "comparisons": [], "criteria": []})
    assert alone.splitlines()[-1] == "no method is compared with a baseline"


def test_what_children_write_is_passed_by_kind(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    line, said, counting = (
        '{"event": "cell"}\n',
        "Task  digits\n",
        "asha: 3/30 cells, 2.0 s, about 1 s left\n",
    )
    shown = {
        (json_, quiet): [
            Output(json_, quiet).passes(stream, text)
            for stream, text in (
                (sys.stdout, line),
                (sys.stdout, said),
                (sys.stderr, counting),
                (sys.stderr, "error: no\n"),
            )
        ]
        for json_ in (True, False)
        for quiet in (True, False)
    }
    assert shown == {
        (True, False): [True, True, True, True],
        (True, True): [True, True, False, True],
        (False, False): [False, True, True, True],
        (False, True): [False, False, False, True],
    }


def test_a_trial_of_two_seeds_is_drawn_and_flagged(tmp_path, capsys, monkeypatch):
    monkeypatch.undo()  # figures too
    root = write_study(tmp_path / "study", seeds=range(2), methods=("none", "literal"), tasks=("digits_mlp",))
    assert main(["report", str(root), "--quiet", "--html", str(tmp_path / "page.html")]) in (0, 1)
    said = capsys.readouterr().out
    assert "note: digits_mlp / asha: 2 seeds: no result could be significant" in said
    assert said.count("  unpowered\n") == 1 and (tmp_path / "page.html").stat().st_size > 10_000
