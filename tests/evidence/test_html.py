import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from hypernudge import cli
from hypernudge.cli.evidence import report as main
from hypernudge.evidence.figures import forest, manifest
from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy
from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.report.compact import Page
from hypernudge.evidence.report.html import report, write_report
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.pages.rendering import source_hash
from tests.evidence.synthetic import write_study


class Tags(HTMLParser):
    """Checks that every element is closed in order, and keeps addresses."""

    def __init__(self):
        super().__init__()
        self.stack, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br", "link"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def test_one_file_that_loads_nothing(small_study, tmp_path):
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    for path in (first, second):
        write_report(small_study, path, (forest.draw, manifest.draw))
    text = first.read_text()
    assert text == second.read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.stack == []
    assert text.count("<figure") == text.count('<svg role="img" aria-label=') == 2
    assert all(address.startswith("#") for address in tags.addresses if address != "data:,")
    assert "http:" not in text and "https:" not in text
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert text.count("<script") == 1 and source_hash(script) in html.unescape(text.partition("<title>")[0])
    first = text.partition("</table>")[0]  # the verdicts come before anything else
    labels = r'class="badge (improved|harmed|equivalent|inconclusive|unpowered)">\1<'
    assert len(re.findall(labels, first)) == 4 and text.index('id="verdicts"') < text.index('id="problems"')
    linked = {address[1:] for address in tags.addresses if address.startswith("#")}
    assert {"verdicts", "criteria", "problems", "figures", "plan", "provenance"} <= linked
    assert linked <= set(re.findall(r' id="([^"]+)"', text))
    assert 'name="viewport"' in text
    assert "@media print" in text and "prefers-color-scheme: dark" in text
    assert "No declaration" in text


def test_markup_in_names_is_text(study_copy, tmp_path):
    path = study_copy / "plan.json"
    path.write_text(path.read_text().replace('"name": "synthetic"', '"name": "<b>&x"'))
    write_report(study_copy, tmp_path / "r.html", ())
    assert "<h1>&lt;b&gt;&amp;x: evidence</h1>" in (tmp_path / "r.html").read_text()


def test_notes_stand_beside_the_verdict(small_study, tmp_path):
    study = load_study(small_study)
    noted, *others = compare(study)
    noted = replace(noted, notes=("the interval <0.9> holds 1",))
    text = report(small_study, EvaluatedStudy(study, (noted, *others), ()), (), Page())
    assert text.count("<small>Note: ") == 1 + sum(len(c.notes) for c in others)
    assert "<small>Note: the interval &lt;0.9&gt; holds 1.</small>" in text
    tags = Tags()
    tags.feed(text)
    assert tags.stack == []


@pytest.mark.slow
def test_the_command_writes_it(tmp_path, capsys):
    root = write_study(tmp_path / "study", tasks=("a",), methods=("none", "literal"), seeds=range(6))
    assert main(["--results-dir", str(root), "--html", str(tmp_path / "r.html")]) == 0
    assert '"event": "report"' in capsys.readouterr().out
    text = (tmp_path / "r.html").read_text()
    drawn = sorted(path.stem for path in (root / "figures").iterdir())
    assert sorted(re.findall(r'<figure id="([^"]+)"', text)) == drawn
    assert len(drawn) >= 14
    # Solving the layout once, for the file, leaves the page as it is when drawn on its own.
    write_report(root, tmp_path / "again.html", (forest.draw,))
    (alone,) = re.findall(r"<svg.*?</svg>", (tmp_path / "again.html").read_text(), re.DOTALL)
    (within, *_) = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert re.findall(r"<text[^>]*>([^<]*)", within) == re.findall(r"<text[^>]*>([^<]*)", alone)


def test_report_takes_its_directory_first_or_last_or_as_an_option(tmp_path, capsys):
    root = write_study(tmp_path / "study", tasks=("a",), methods=("none", "literal"), seeds=range(6))
    page = ["--html", str(tmp_path / "report.html"), "--no-figures"]
    for given in ([str(root), *page], [*page, str(root)], [*page, "--results-dir", str(root)]):
        assert cli.main(["report", *given]) == 0
        assert "<figure" not in (tmp_path / "report.html").read_text()
        (tmp_path / "report.html").unlink()
    assert not (root / "figures").exists() and list((root / "tables").iterdir())
    with pytest.raises(SystemExit):
        cli.main(["report", str(root), "--no-figures", "--all-figures"])
    assert "not allowed with" in capsys.readouterr().err
    for given in ([], [str(root), "--results-dir", str(root)]):
        with pytest.raises(SystemExit):
            cli.main(["report", *given])
        assert "needs one results directory: DIR, or --results-dir DIR" in capsys.readouterr().err
