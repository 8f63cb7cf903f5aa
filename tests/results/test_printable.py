"""Text of unknown origin in tables, terminals and figures."""

import re

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hypernudge.evidence.loading.csvtext import csv_text
from hypernudge.evidence.loading.longform_files import read_rows
from hypernudge.evidence.report.formats import to_latex, to_markdown, write_table
from hypernudge.evidence.report.tables import Table
from hypernudge.plotting import layout, style
from hypernudge.results.printable import for_csv, for_latex, for_markdown, from_csv, printable


@given(st.text())
@example("'=1+1")
@example("''@x")
@example("-")
@example("'-0.5")
def test_guarding_for_csv_can_be_undone_and_leaves_no_formula(text):
    guarded = for_csv(text)
    assert from_csv(guarded) == text
    assert guarded[:1] not in tuple("=@\t\r\n＝＋－＠")
    assert guarded[:1] not in ("+", "-") or re.fullmatch(r"[+-][0-9]*\.?[0-9]*(e[+-]?[0-9]+)?", guarded, re.I)


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "-2+3", "+cmd|' /C calc'!A0", "\t=1", "＝1", "\r=1"])
def test_formulas_are_guarded(text):
    assert for_csv(text) == "'" + text


@pytest.mark.parametrize("text", ["-0.5", "+1e-3", "-", "plain", "a=b", "", "0.81 [0.70, 0.93]"])
def test_what_is_no_formula_stays(text):
    assert for_csv(text) == text


def test_a_table_keeps_its_numbers_and_guards_its_text(tmp_path):
    frame = pd.DataFrame({"method": ["=1+1", "asha"], "diff": [-0.5, 1.25], "pairs": [3, 4]})
    (path, *_) = write_table(Table("t", "shows", frame), tmp_path)
    assert path.read_text() == "method,diff,pairs\n'=1+1,-0.5,3\nasha,1.25,4\n"


def test_the_long_form_comes_back_as_it_was(tmp_path):
    labels = ["=1+1", "'=1+1", "@x", "-a", "-1", "plain", "'quoted'", "+\t"]
    frame = pd.DataFrame({"task": labels, "variation": labels, "seed": 0, "time": 1.0, "score": -0.5})
    path = tmp_path / "long.csv"
    path.write_text(csv_text(frame))
    rows = read_rows(path).frame
    assert rows["task"].tolist() == labels and rows["variation"].tolist() == labels
    assert rows["score"].tolist() == [-0.5] * len(labels)
    assert "'=1+1,'=1+1," in path.read_text() and ",-0.5\n" in path.read_text()


@given(st.text())
def test_markdown_cells_stay_one_cell_of_one_line(text):
    escaped = for_markdown(text)
    assert "\n" not in escaped and "<" not in escaped and ">" not in escaped
    assert escaped.replace("\\\\", "").replace("\\|", "").count("|") == 0


def test_markdown_and_latex_survive_what_labels_hold():
    hostile = "a|b\n\n<b>x</b> `c` [d](http://e) ![f](g) $h$ *i* \\j &lt; k_l _m_"
    frame = pd.DataFrame({"[label]": [hostile, "[x"], "p": [0.00001, 0.5]})
    lines = to_markdown(frame).splitlines()
    assert len(lines) == 4 and lines[0] == "| [label] | p |" and lines[2].endswith("| <0.0001 |")
    assert r"a\|b &lt;b&gt;x" in lines[2] and r"[d\](http" in lines[2] and r"\$h\$" in lines[2]
    assert r"\\j &amp;lt; k_l \_m\_" in lines[2]
    latex = to_latex(frame).splitlines()
    assert len(latex) == 8 and latex[5].startswith("{}[x & ")  # a bracket after \\ would be its argument
    assert r"\$h\$" in latex[4] and r"\textbackslash{}j" in latex[4]


def test_latex_has_no_command_of_a_label():
    assert for_latex("\\input{x}") == r"\textbackslash{}input\{x\}"
    assert for_latex("a\0b") == r"a\textbackslash{}x00b"


@given(st.text())
def test_a_terminal_gets_what_can_be_seen(text):
    assert printable(text).isprintable()


def test_escape_sequences_are_shown_not_obeyed():
    assert printable("\x1b[2J\u202eab\n") == "\\x1b[2J\\u202eab\\n"
    assert printable("Größe µ 中文") == "Größe µ 中文"


@pytest.mark.parametrize("label", [r"$\foo$", "$", "a$b$c", "\x1b\x00\x07", "line\nbreak", r"\alpha"])
def test_any_label_can_be_drawn(label, tmp_path):
    from xml.etree import ElementTree

    with style.context():
        figure, (axes,) = layout.grid(1, columns=1, height=1.0)
        axes.set_title(label)
        axes.set_xticks([0, 1], [label, "b"])
        figure.draw_without_rendering()
        style.save(figure, tmp_path / "x.pdf")
        svg = style.as_svg(figure)
    ElementTree.fromstring(svg)
    assert "$" not in label or label.split("\n")[0] in svg


@pytest.mark.parametrize(("low", "high"), [(1.5, 6.0), (150, 650), (1e-5, 1e3)])
def test_ticks_of_logarithmic_axes_are_numbers(low, high, tmp_path):
    with style.context():
        figure, (axes,) = layout.grid(1, columns=1, height=2.0)
        axes.plot([low, high], [low, high])
        axes.set_xscale("log")
        axes.set_yscale("log")
        svg = style.as_svg(figure)
        shown = [tick.get_text() for tick in (*axes.get_yticklabels(), *axes.get_yticklabels(minor=True))]
    assert "mathdefault" not in svg
    assert len([float(text) for text in shown if text]) >= 2
