"""What pages show to be typed: run from top to bottom, as a reader would, or checked and counted."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
import warnings
from collections import Counter
from pathlib import Path

import pytest
import yaml

from hypernudge.cli import main
from hypernudge.experiments.runners.plans import load_run_plan
from hypernudge.harness.planning.experiment_schema import EXPERIMENT
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.running.dry_build import check_buildable
from tests.docs import given
from tests.docs.snippets import (
    DOCS,
    OTHER,
    PAGES,
    ROOT,
    RUN,
    blocks,
    check_command,
    check_python,
    commands,
    file_of,
    inline_commands,
    snippets,
)

# README.md has a test of its own (tests/test_readme.py); what is typed to work on the repository is checked.
RUN_HERE = [page for page in PAGES if not page.isupper() and snippets(page)]
NOT_RUN = {
    "aees_experiments": 3,  # data sets, a pretrained model
    "dash": 1,
    "data": 3,
    "evidence": 1,
    "extend/scheduler": 1,
    "install": 2,
    "integrations": 2,
    "modules": 1,
    "scaling": 2,
    "start/neps": 2,
    "start/ray_tune": 1,
}
"""How many blocks of each page are not run; the reason stands before each."""


def run_command(words):
    """Run a command as the shell would, in this process."""
    program, *rest = words
    if program == "hypernudge":
        expanded = [str(Path(word).expanduser()) if word.startswith("~") else word for word in rest]
        assert main(expanded) == 0, words
    else:
        assert program == "python", words
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", rest)
            try:
                runpy.run_path(rest[0], run_name="__main__")
            except SystemExit as end:
                assert not end.code, words


def experiment_of(snippet):
    """Yield the experiments of which a block is part; lines that repeat a key are alternatives."""
    keys = re.findall(r"^(\w+):", snippet.code, re.MULTILINE)
    for text in snippet.code.splitlines() if len(set(keys)) < len(keys) else [snippet.code]:
        part = yaml.safe_load(text)
        whole = {key: part.pop(key) for key in [*part] if key in (*EXPERIMENT["properties"], "defaults")}
        own = {**given.COMMON, **given.COMMON_OF.get(snippet.page, {}), **part}
        whole["common"] = {**own, **whole.get("common", {})}
        if "grid" not in whole:
            whole.setdefault("variations", given.VARIATIONS_OF.get(snippet.page, given.VARIATIONS))
        yield whole


def check_yaml(snippet, folder):
    """Resolve what a block says, and build it unless it is not run."""
    if "methods:" in snippet.code:  # a plan of the AEES experiments
        (folder / "runs.yaml").write_text(snippet.code)
        assert load_run_plan(folder / "runs.yaml").runs
        return
    for whole in experiment_of(snippet):
        (folder / "fragment.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
        plan = load_plan(folder / "fragment.yaml")
        assert plan.variations
        if snippet.reason is None:
            check_buildable(plan)


def run(page, folder, names):
    for snippet in snippets(page):
        if snippet.language == "yaml":
            check_yaml(snippet, folder)
        elif snippet.reason is not None:
            continue
        elif snippet.language == "python":
            if page in given.ALTERNATIVES:
                names |= given.names()
            exec(compile(snippet.code, str(snippet), "exec"), names)
        elif snippet.language == "literalinclude":
            if snippet.code.startswith("cff"):
                continue
            exec(compile(snippet.code, str(snippet), "exec"), {"__name__": "__main__"})
        else:
            for words in commands(snippet.code):
                run_command(words)
    return names


def test_there_is_a_page_for_every_kind_of_user():
    assert len([page for page in RUN_HERE if page.startswith(("start/", "extend/"))]) >= 13


@pytest.fixture
def no_cluster_stays():
    """A page may start Ray, as its reader's script does, whose end would end the cluster, too."""
    yield
    ray = sys.modules.get("ray")
    if ray is not None:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("no_cluster_stays")
@pytest.mark.parametrize("page", RUN_HERE)
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch, capsys):
    if page in given.NEEDS:
        pytest.importorskip(given.NEEDS[page], reason=f"the page is about {given.NEEDS[page]}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYPERNUDGE_CACHE", str(tmp_path / "cache"))
    given.FILES.get(page, lambda folder, monkeypatch: None)(tmp_path, monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if page in given.NEEDS else "error")  # advice of other libraries
        names = run(page, tmp_path, given.names())
    if page == "start/own_training":
        assert names["study"].best_value > 0.9 and (tmp_path / "incumbent.png").is_file()
    if page == "start/episodes":
        assert names["episodes"].metrics()["episodes/lr"] > 1
    if page == "start/lightning":
        assert (tmp_path / "episodes.png").is_file()
    if page == "extend/warm_start":
        assert all(trial.config["lr"] >= 1e-3 for trial in names["study"].trials)
    if page == "start/verdict":
        assert (tmp_path / "verdict").is_dir()
        (shown,) = (block.code for block in blocks(page) if block.language == "text")
        assert set(shown.splitlines()) <= set(capsys.readouterr().out.splitlines())


def test_what_is_not_run_is_counted_and_checked(capsys):
    left = [snippet for page in RUN_HERE for snippet in snippets(page) if snippet.reason is not None]
    total = sum(len(snippets(page)) for page in RUN_HERE)
    with capsys.disabled():
        sys.stdout.write(f"\nsnippets of the site: {total}, not run: {len(left)}\n")
        sys.stdout.writelines(f"  {snippet}: {snippet.reason}\n" for snippet in left)
    assert total > 60 and dict(Counter(snippet.page for snippet in left)) == NOT_RUN
    for snippet in left + [snippet for page in PAGES if page.isupper() for snippet in snippets(page)]:
        if snippet.language in ("python", "literalinclude"):
            check_python(snippet)
        elif snippet.language == "bash":
            for words in commands(snippet.code):
                check_command(words)


def test_nothing_that_is_typed_hides_from_these_tests():
    """Every block says its language; code that is indented only would be none."""
    languages = {str(block): block.language for page in PAGES for block in blocks(page)}
    assert {name for name, language in languages.items() if language not in RUN + OTHER} == set()
    commands_begin = r"^ {4}(hypernudge \w|uv|pip|python|from|import|[a-z_]+ = )\b.*"
    hidden = [
        f"{page}: {found}"
        for page in PAGES
        for part in file_of(page).read_text("utf-8").split("```")[::2]
        for found in re.findall(commands_begin, part, re.MULTILINE)
    ]
    assert hidden == []


def test_the_commands_in_the_text_of_pages_are_understood():
    from hypernudge.cli.app import _parser

    shown = [words for page in PAGES for words in inline_commands(page)]
    assert len(shown) > 30
    for words in shown:
        if words[0] == "hypernudge" and len(words) <= 3 and "DIR" not in words:
            with pytest.raises(SystemExit) as end:
                _parser().parse_args([words[1], "--help"])
            assert end.value.code == 0, words
        else:
            check_command(words)


@pytest.mark.slow
def test_a_scheduler_of_the_page_obeys_the_laws(tmp_path, monkeypatch):
    """As its reader would find out: entered in the table of laws."""
    monkeypatch.chdir(tmp_path)
    code = next(block.code for block in blocks("extend/scheduler") if block.language == "python")
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


def test_every_extra_is_on_the_page_of_installing():
    page = (DOCS / "install.md").read_text("utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    ours = {"peers"}  # what the benchmarks compare with, no part of the package
    assert [name for name in extras if name not in ours and f"`{name}`" not in page] == []


def test_every_extra_that_a_message_names_is_there():
    named = {
        extra
        for path in (ROOT / "hypernudge").rglob("*.py")
        for found in re.findall(
            r"hypernudge\[([\w,-]+)\]|\bpackage\(\s*\"[\w.]+\",\s*\"([\w-]+)\"", path.read_text("utf-8")
        )
        for extra in "".join(found).split(",")
    }
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert len(named) > 10 and named - set(extras) == set()


def test_relative_links_lead_to_files():
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in DOCS.rglob("*.md")
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []
