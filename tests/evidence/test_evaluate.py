import csv
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hypernudge.evidence.figures import anytime, bars, forest
from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy
from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.report.evaluate import evaluate
from hypernudge.evidence.report.formats import to_latex, to_markdown
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.plotting import layout, style
from hypernudge.results.jsonio import plain, write_json
from tests.evidence.synthetic import write_study

LABELS = {"improved", "harmed", "equivalent", "inconclusive", "unpowered"}


def strict(text):
    """Parse JSON, refusing NaN and Infinity."""

    def refuse(token):
        raise AssertionError(token)

    return json.loads(text, parse_constant=refuse)


def test_events(evaluated):
    _, events, evaluation = evaluated
    for event in events:
        assert strict(json.dumps(event)) == event
    kinds = [event["event"] for event in events]
    assert kinds.count("summary") == 6
    assert kinds.count("comparison") == 4
    assert kinds.count("criterion") == 2 * 5
    assert kinds.count("table") == 5
    assert kinds.count("control") == 4
    assert kinds.count("problem") == 0
    assert len(evaluation.figures) == kinds.count("figure") >= 11
    assert evaluation.status == "complete"
    for event in evaluation.comparisons:
        assert event["verdict"] in LABELS
        assert event["baseline_run_id"].endswith("-none")
        assert 0 <= event["time_to_target"]["p"] <= event["time_to_target"]["p_holm"] <= 1
    band = [e for e in evaluation.comparisons if e["warm_start"] == "curvature_band"]
    assert all(e["time_to_target"]["ratio"]["estimate"] < 1 for e in band)


def test_the_file_is_strict_json_with_one_verdict_per_comparison(evaluated):
    root, events, evaluation = evaluated
    saved = strict((root / "evaluation.json").read_text())
    assert saved["verdicts"] == {e["run_id"]: e["verdict"] for e in events if e["event"] == "comparison"}
    assert saved["comparisons"] == list(evaluation.comparisons)
    assert saved["cells"] == {"planned": 60, "missing": 0}
    assert saved["pairs_needed"] == 8
    assert not list(root.glob(".evaluation*"))


def test_figures_are_pdf_and_named_by_the_rules(evaluated):
    root, _, evaluation = evaluated
    files = sorted(path.name for path in (root / "figures").iterdir())
    assert files == sorted(figure["name"] for figure in evaluation.figures)
    assert set(files) >= {
        "forest_time_to_target.pdf",
        "anytime_incumbent_digits_mlp_asha.pdf",
        "time_to_target_digits_cnn_asha.pdf",
        "paired_time_to_target_digits_mlp_asha.pdf",
        "hyperparameter_shift_digits_mlp_asha.pdf",
        "hypergradient_benefit_digits_mlp_asha.pdf",
        "final_score_validation.pdf",
        "final_score_test.pdf",
        "best_so_far_auc.pdf",
        "overhead.pdf",
        "rung_survival.pdf",
    }
    for figure in evaluation.figures:
        assert re.fullmatch(r"[a-z0-9]+(_[A-Za-z0-9]+)*\.pdf", figure["name"])
        assert (root / figure["file"]).read_bytes().startswith(b"%PDF-")
        assert "\n" not in figure["shows"]
        assert 20 < len(figure["shows"]) < 120


def test_tables_hold_the_same_frame(evaluated):
    root, _, evaluation = evaluated
    for table in evaluation.tables:
        by_suffix = {path.rsplit(".", 1)[1]: (root / path).read_text() for path in table["files"]}
        header, *rows = csv.reader(by_suffix["csv"].splitlines())
        markdown = by_suffix["md"].splitlines()
        assert len(markdown) == len(rows) + 2
        assert markdown[0].count("|") == len(header) + 1
        assert by_suffix["tex"].count(r"\\") == len(rows) + 1
    text = (root / "tables/comparisons.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["verdict"] for row in rows] == [event["verdict"] for event in evaluation.comparisons]


def test_a_second_evaluation_gives_the_same_bytes(study_copy):
    written = []
    for _ in range(2):
        evaluate(study_copy, lambda event: None, figures=False)
        study = load_study(study_copy)
        evaluated = EvaluatedStudy(study, tuple(compare(study)), ())
        for topic in (forest.draw, anytime.draw):
            with style.context():
                drawing = next(topic(evaluated))
                style.save(drawing.figure, study_copy / "figures" / f"{drawing.name}.pdf")
        paths = [study_copy / "evaluation.json", *study_copy.glob("tables/*"), *study_copy.glob("figures/*")]
        written.append({path.name: path.read_bytes() for path in paths})
    assert len(written[0]) == 1 + 15 + 2
    assert written[0] == written[1]


def test_missing_and_damaged_cells_leave_an_incomplete_evaluation(study_copy):
    (study_copy / "digits_mlp-asha-literal/cells/seed-0001.json").unlink()
    (study_copy / "digits_mlp-asha-literal/cells/seed-0002.json").write_text('{"format":')
    (study_copy / "digits_cnn-asha-none/cells/seed-0005.json").unlink()
    events = []
    evaluation = evaluate(study_copy, events.append, figures=False)
    assert (evaluation.status, evaluation.missing) == ("incomplete", 3)
    problem, *absent = evaluation.problems
    assert problem["run_id"] == "digits_mlp-asha-literal"
    assert problem["where"].endswith("seed-0002.json")
    assert [p["rule"] for p in absent] == ["no record of seed 1", "no record of seed 5"]
    by_run = {event["run_id"]: event for event in evaluation.comparisons}
    literal = by_run["digits_mlp-asha-literal"]
    assert (literal["status"], literal["pairs"], literal["missing_pairs"]) == ("incomplete", 8, 2)
    assert by_run["digits_mlp-asha-curvature_band"]["status"] == "complete"
    assert by_run["digits_cnn-asha-literal"]["missing_pairs"] == 1
    assert evaluation.summaries[1]["missing_seeds"] == [1, 2]
    assert evaluation.figures == ()


def test_a_plan_without_any_record_is_evaluated_to_nothing_but_unpowered(tmp_path):
    root = write_study(tmp_path / "s", tasks=("a",), methods=("none", "literal"), seeds=range(6))
    for path in root.glob("*/cells/*.json"):
        path.unlink()
    evaluation = evaluate(root, lambda event: None)
    assert [event["verdict"] for event in evaluation.comparisons] == ["unpowered"]
    assert [event["name"] for event in evaluation.figures] == ["manifest_completeness.pdf"]
    assert strict(evaluation.path.read_text())["cells"] == {"planned": 12, "missing": 12}


def test_one_seed_nobody_at_the_target(tmp_path):
    root = write_study(tmp_path / "s", tasks=("a",), methods=("none", "literal"), seeds=[4], target=0.999)
    evaluation = evaluate(root, lambda event: None)
    (event,) = evaluation.comparisons
    assert event["verdict"] == "unpowered"
    assert (event["reached_baseline"], event["reached_method"]) == (0, 0)
    assert evaluation.summaries[0]["time_to_target"]["median"] is None
    assert len(evaluation.figures) >= 9


def test_evaluation_imports_no_training_stack(small_study):
    script = (
        "import sys; from hypernudge.evidence.report.evaluate import evaluate; "
        "assert 'matplotlib' not in sys.modules; from pathlib import Path; "
        f"evaluate(Path({str(small_study)!r}), lambda e: None, figures=False); "
        "from hypernudge.evidence.report import gallery; "
        "bad = {'torch', 'hydra', 'sklearn', 'statsmodels', 'lifelines', 'scipy.stats', 'matplotlib.pyplot'};"
        "print(sorted(bad & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_comparison_agrees_with_the_frames_by_hand(small_study):
    study = load_study(small_study)
    comparison = compare(study)[1]
    cells = study.cells.set_index("seed")
    method, baseline = (
        cells[cells["run_id"] == f"digits_mlp-asha-{name}"] for name in ("curvature_band", "none")
    )
    expected = np.exp(np.mean(np.log(method["time"] / baseline["time"])))
    assert comparison.effects.ratio.estimate == pytest.approx(expected)
    gap = method["final"].mean() - baseline["final"].mean()
    assert comparison.final.estimate == pytest.approx(gap / baseline["final"].median())
    assert comparison.overhead == pytest.approx(
        method["warm_start_flops"].sum() / method["total_flops"].sum()
    )


def test_labels_are_spread_apart():
    rng = np.random.default_rng(0)
    for _ in range(50):
        wanted = rng.uniform(0, 1, 6)
        placed = style.spread_apart(wanted, 0.1, 0.0, 1.0)
        order = np.argsort(wanted)
        assert np.all(np.diff(placed[order]) >= 0.1 - 1e-9)
        assert placed.min() >= -1e-9
        assert placed.max() <= 1 + 1e-9
    far = np.array([0.1, 0.5, 0.9])
    assert style.spread_apart(far, 0.1, 0.0, 1.0).tolist() == far.tolist()
    assert style.spread_apart(np.zeros(0), 0.1).size == 0


def test_style_leaves_no_trace():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with style.context():
        assert mpl.rcParams["font.size"] == 8.0
    assert dict(mpl.rcParams) == before


def test_file_names_are_safe():
    assert style.file_name("overhead") == "overhead"
    assert style.file_name("time_to_target", "a/b c", "asha+x") == "time_to_target_a_b_c_asha_x"


def test_text_tables_escape_and_round():
    frame = pd.DataFrame({"name_a": ["50 % & more|x"], "Holm p": [0.00001], "ratio": [-0.0001], "n": [3]})
    assert to_markdown(frame).splitlines()[2] == r"| 50 % & more\|x | <0.0001 | 0.000 | 3 |"
    assert r"50 \% \& more|x & \textless{}0.0001 & 0.000 & 3 \\" in to_latex(frame)


def test_json_has_no_room_for_nonsense(tmp_path):
    value = {"a": np.float64("nan"), "b": [np.inf, np.int64(3), np.array([1.0, np.nan])], "c": tmp_path}
    assert plain(value) == {"a": None, "b": [None, 3, [1.0, None]], "c": tmp_path.as_posix()}
    with pytest.raises(TypeError, match="object has no JSON form"):
        plain(object())
    path = tmp_path / "x" / "y.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert strict(path.read_text()) == {"a": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["y.json"]


def test_no_accuracy_axis_is_labelled_beyond_one(small_study):
    study = load_study(small_study)
    compared = compare(study)
    evaluated = EvaluatedStudy(study, tuple(compared), ())
    with style.context():
        for drawing in (*anytime.draw(evaluated), *bars.draw_final_score(evaluated)):
            for axes in drawing.figure.axes:
                if axes.get_ylabel().endswith("accuracy [-]"):
                    assert len(axes.get_yticks()) > 1 and max(axes.get_yticks()) <= 1


@pytest.mark.parametrize(
    ("panels", "most", "columns"), [(4, 3, 2), (5, 4, 3), (6, 4, 3), (3, 3, 3), (1, 3, 1)]
)
def test_panels_fill_their_rows(panels, most, columns):
    assert layout.balanced(panels, most) == columns
