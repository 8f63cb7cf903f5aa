"""The Python of a page, copied as text and run from top to bottom in one namespace."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from hypernudge import ASHA, tune
from hypernudge.cli import main
from hypernudge.tasks.builtin import breast_cancer_mlp

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NEEDS = {"start/optuna": "optuna", "start/lightning": "lightning", "start/transformers": "transformers"}
PAGES = [
    f"{folder}/{page.stem}"
    for folder in ("start", "extend")
    for page in sorted((DOCS / folder).glob("*.md"))
    if "```python" in page.read_text("utf-8")
]


def given():
    """What a reader of the page has."""
    model = nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    task = breast_cancer_mlp()
    return {"task": task, "tune": tune, "ASHA": ASHA, "model": model, "optimizer": optimizer}


def blocks(page: Path, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def run(page, names):
    for block in blocks(DOCS / f"{page}.md"):
        exec(compile(block, page, "exec"), names)
    return names


def test_there_is_a_page_for_every_kind_of_user():
    assert len(PAGES) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    if page in NEEDS:
        pytest.importorskip(NEEDS[page], reason=f"the page is about {NEEDS[page]}")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if page in NEEDS else "error")  # advice of other libraries
        names = run(page, given())
    if page == "start/own_training":
        assert names["study"].best_value > 0.9 and (tmp_path / "incumbent.png").is_file()
    if page == "start/episodes":
        assert names["episodes"].metrics()["episodes/lr"] > 1
    if page == "start/lightning":
        assert (tmp_path / "episodes.png").is_file()
    if page == "extend/warm_start":
        assert all(trial.config["lr"] >= 1e-3 for trial in names["study"].trials)
    if page == "start/verdict":
        (command,) = blocks(DOCS / "start/verdict.md", "bash")
        assert main(command.split()[1:]) == 0
        assert (tmp_path / "verdict").is_dir()


@pytest.mark.slow
def test_a_scheduler_of_the_page_obeys_the_laws(tmp_path, monkeypatch):
    """As its reader would find out: entered in the table of laws."""
    monkeypatch.chdir(tmp_path)
    (code, _) = blocks(DOCS / "extend/scheduler.md")
    (tmp_path / "greedy.py").write_text(code)
    test = (
        "from greedy import Greedy\n"
        "from tests.laws import test_schedulers as laws\n"
        "make = lambda max_trials=20: Greedy(laws.SPACE, max_trials=max_trials)\n"
        "laws.HISTORY_ONLY['greedy'] = laws.SCHEDULERS['greedy'] = make\n"
        "for kind in laws.CURVES:\n"
        "    for workers in (1, 3, 16):\n"
        "        laws._finishes('greedy', 1, workers, kind)\n"
        "        laws._rebuilds('greedy', 1, workers, kind, 40, 100)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n{test}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_that_pages_show_are_understood():
    from hypernudge.cli.app import _parser, parse_with_overrides

    shown = [
        line.split("#")[0].split("hypernudge ", 1)[1].split()
        for page in [*DOCS.rglob("*.md"), ROOT / "README.md"]
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
        if re.match(r"(uv run )?hypernudge ", line)
    ]
    assert len(shown) > 6
    for words in shown:
        parse_with_overrides(_parser(), [word.strip("'\"") for word in words])  # exits where it is not


def test_every_extra_is_on_the_page_of_installing():
    page = (DOCS / "install.md").read_text("utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    ours = {"peers"}  # what the benchmarks compare with, no part of the package
    assert [name for name in extras if name not in ours and f"`{name}`" not in page] == []


def test_relative_links_lead_to_files():
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in DOCS.rglob("*.md")
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []
