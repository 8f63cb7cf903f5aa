"""Figures are written as Matplotlib would write them, in one drawing."""

import io
import itertools
import re
import zlib
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="needs the extra harness")

import matplotlib as mpl
from fontTools import subset
from fontTools.pens.recordingPen import RecordingPen
from fontTools.ttLib import TTFont
from matplotlib.figure import Figure

from hypernudge.plotting import style, writing

METADATA = {"CreationDate": None, "Creator": "hypernudge", "Producer": None}


def panels():
    """Labels of unlike lengths, a colour bar and a legend outside: what a layout has to solve."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    for number, axes in enumerate(figure.subplots(2, 2).flat):
        axes.plot([1, 2, 30], [10 ** (2 * number), 3, 5], label=f"office ffi {number}")
        axes.set_ylabel("accuracy [-] é ∇\nof a task")
    image = axes.imshow([[0, 1], [2, 3]])
    figure.colorbar(image, ax=figure.axes[2])
    figure.suptitle("fi fl ﬁ Ünder", weight="bold")
    style.legend_above(figure, figure.axes[0].lines)
    return figure


def logarithmic():
    figure = Figure(figsize=(3, 2), layout="tight")
    axes = figure.subplots()
    axes.loglog([1, 1000], [0.1, 20])
    axes.set_xlabel("time, $s$")
    return figure


def plain():
    figure = Figure(figsize=(3, 2))
    figure.subplots().bar([1, 2], [3, 4])
    return figure


def no_room():
    figure = Figure(figsize=(1, 0.4), layout="constrained")
    figure.subplots(3, 3)
    figure.suptitle("far more text than there is room for " * 3)
    return figure


FIGURES = pytest.mark.parametrize("make", [panels, logarithmic, plain])


def streams(pdf):
    found = re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)
    return [zlib.decompress(data) if data[:1] == b"x" else data for data in found]


def is_font(data):
    return data[:4] in (b"\0\1\0\0", b"true")


def letters(found):
    """Yield outline and width of every character of each font; after it comes the map to its glyphs."""
    for data, glyphs in itertools.pairwise(found):
        if is_font(data):
            font = TTFont(io.BytesIO(data))
            drawn, outlines = font.getGlyphSet(), {}
            for code, glyph in enumerate(glyphs.decode("utf-16be")):
                if ord(glyph):
                    pen = RecordingPen()
                    name = font.getGlyphName(ord(glyph))
                    drawn[name].draw(pen)
                    outlines[code] = pen.value, font["hmtx"][name]
            yield outlines


@FIGURES
def test_a_pdf_shows_what_matplotlib_s_own_shows(make, tmp_path):
    with style.context():
        style.save(make(), tmp_path / "ours.pdf")
        slow = make()
        style.without_formulas(slow)
        slow.savefig(tmp_path / "slow.pdf", format="pdf", metadata=METADATA)
    ours, theirs = (streams((tmp_path / name).read_bytes()) for name in ("ours.pdf", "slow.pdf"))
    fonts = [index for index, data in enumerate(theirs) if is_font(data)]
    assert fonts and len(ours) == len(theirs)
    for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one == other or index in fonts or index - 1 in fonts  # a font, and the map of its letters
    assert list(letters(ours)) == list(letters(theirs))
    assert sum(map(len, letters(ours))) > 5
    for index in fonts:
        kept = set(TTFont(io.BytesIO(ours[index])).keys())
        assert not kept & {"GSUB", "GPOS", "GDEF"}, "another fontTools: letters_alone does nothing with it"
        assert set(TTFont(io.BytesIO(theirs[index])).keys()) - kept <= {"GSUB", "GPOS", "GDEF"}


@FIGURES
def test_an_svg_is_matplotlib_s_own(make):
    with style.context():
        ours, slow, buffer = style.as_svg(make()), make(), io.StringIO()
        style.without_formulas(slow)
        slow.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    assert ours.replace("\u00a0", " ") == buffer.getvalue()


@pytest.mark.parametrize("write", [style.as_svg, lambda figure: style.save(figure, Path("x.pdf"))])
def test_a_figure_is_drawn_once_and_keeps_what_it_had(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn = []
    original = Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda self, renderer: drawn.append(1) or original(self, renderer))
    with style.context():
        figure = panels()
        had = figure.get_layout_engine(), figure.canvas, figure.dpi
        with mpl.rc_context({"figure.constrained_layout.use": True}):
            write(figure)
        assert (figure.get_layout_engine(), figure.canvas, figure.dpi) == had
    assert len(drawn) == 1


def test_where_there_is_no_room_the_warning_is_matplotlib_s():
    with style.context(), pytest.warns(UserWarning, match="constrained_layout not applied"):
        assert style.as_svg(no_room()).startswith("<?xml")


def test_fonts_of_others_keep_everything(monkeypatch):
    before = list(subset.Options().drop_tables)
    with pytest.raises(RuntimeError), writing.letters_alone():
        assert "GSUB" in subset.Options().drop_tables
        raise RuntimeError
    assert subset.Options().drop_tables == before
    monkeypatch.delattr(subset.Options, "_drop_tables_default")
    with writing.letters_alone():
        assert not hasattr(subset.Options, "_drop_tables_default")
