"""Every figure that is published is drawn from records that are published, and shows them."""

from __future__ import annotations

import re

import pytest

from benchmarks.evidence.rejudged import RESULTS
from benchmarks.figures import __main__ as command
from benchmarks.figures.catalogue import FIGURES, ROOT
from benchmarks.figures.comparing import same

pytest.importorskip("pandas", reason="needs the extra harness")
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *RESULTS.rglob("*.md")]
DRAWN = {(RESULTS / figures.folder / name).resolve() for figures in FIGURES for name in figures.names}


def test_no_figure_is_without_records():
    assert command.unknown() == [] and command.without_records() == []
    assert len(DRAWN) >= 28


def test_every_picture_of_a_page_is_drawn_by_the_command():
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text("utf-8"))
    }
    screens = {path.resolve() for path in (ROOT / "docs" / "images").glob("*.png")}
    assert len(shown) > 12 and shown - DRAWN - screens == set()


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(figures, id=f"{figures.folder}/{figures.names[0]}", marks=pytest.mark.slow)
        for figures in FIGURES
    ],
)
def test_a_published_figure_is_what_its_records_say(figures):
    assert command.redraw(figures, check=True) == []


def test_other_texts_and_moved_points_are_seen(tmp_path):
    published = RESULTS / "learning" / "curves.svg"
    text = published.read_text("utf-8")
    number = re.search(r"[ML] (\d+\.\d+) ", text)[1]
    for change, equal in (
        (lambda text: text, True),
        (lambda text: text.replace(f" {number} ", f" {float(number) + 0.001:.6f} ", 1), True),
        (lambda text: text.replace(f" {number} ", f" {float(number) + 1:.6f} ", 1), False),
        (lambda text: text.replace("ResNet-20", "ResNet-56"), False),
    ):
        (tmp_path / "curves.svg").write_text(change(text), "utf-8")
        assert same(tmp_path / "curves.svg", published) is equal


def test_the_command_says_what_differs_and_mends_it(tmp_path, monkeypatch, capsys):
    import shutil

    shutil.copytree(RESULTS / "learning", tmp_path / "learning")
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    published = tmp_path / "learning" / "curves.svg"
    text = published.read_text("utf-8")
    published.write_text(text.replace("ResNet-20", "ResNet-56"), "utf-8")
    assert command.main(["--check", "--only", "learning"]) == 1
    assert "learning/curves.svg: differs" in capsys.readouterr().out
    assert "ResNet-56" in published.read_text("utf-8")
    command.main(["--only", "learning"])
    assert "learning/curves.svg: drawn anew" in capsys.readouterr().out
    assert "ResNet-56" not in published.read_text("utf-8")
    with pytest.raises(SystemExit):
        command.main(["--only", "lerning"])
    assert "--only: must be a folder with figures, but got 'lerning'" in capsys.readouterr().err
