"""Pictures show what the study found, whatever its trials, scores and names are."""

import itertools
import math
import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection

from hypernudge import Categorical, Real, SearchSpace, Study, tune
from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError, MissingExtraError
from hypernudge.plotting.picture import number
from hypernudge.study.analysis.pictures import PICTURES
from hypernudge.study.plots.dimensions import Dimension
from hypernudge.study.plots.rungs import Rungs
from hypernudge.study.plots.scores import ScoreScale
from hypernudge.study.plots.timeline import spans
from hypernudge.trial import History
from tests.study.synthetic import MIXED, study_of
from tests.study.tools import AlwaysFails, Minimised, Troubled, asha

ODD = SearchSpace(
    [Categorical("opt_$x_1$", ("a_b", "$c^2$", None)), Categorical("日本_€\n", tuple(range(20)))]
)


def nudged(config):
    return {"lr": max(config["lr"], 3e-3)}


def exploding(config, unit, rng):
    return math.exp(3 * (math.log10(config["lr"]) + 2) ** 2 / unit) + 0.1 * abs(rng.normal())


def odd(config, unit, rng):
    return {"a_b": 0.1, "$c^2$": 0.5, None: 0.3}[config["opt_$x_1$"]] + 0.01 * rng.normal()


STUDIES = {
    "usual": lambda: study_of(nudge=nudged, lost=0.15),
    "one trial, one unit": lambda: study_of(trials=1, rungs=(1,), workers=1, nudge=lambda c: {"lr": 0.5}),
    "choices, odd names": lambda: study_of(ODD, odd, 30, task="task_$y_{2}$\x1b[31m", metric="f_1 $score$"),
    "minimised, no space": lambda: study_of(
        score=exploding, lost=0.2, direction="minimize", known=False, nudge=nudged
    ),
    "equal scores": lambda: study_of(score=lambda *_: 0.5, trials=10, nudge=nudged),
    "many rungs": lambda: study_of(rungs=tuple(range(1, 13)), trials=40, nudge=nudged),
}


@pytest.fixture(scope="module")
def usual():
    return STUDIES["usual"]()


@pytest.mark.parametrize("kind", [kind for kind in PICTURES if kind != "importance"])
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_drawn(name, kind, tmp_path):
    study = STUDIES[name]()
    if kind == "shifts" and name == "choices, odd names":
        with pytest.raises(
            InvalidArgumentError, match=r"^shifts: the warm start must have moved a trial, but"
        ):
            study.plot.shifts()
        return
    path = tmp_path / "picture.svg"
    figure = getattr(study.plot, kind)(path=path)
    texts = [
        text
        for axes in figure.axes
        for text in (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left"))
    ]
    assert "seed 0" in " ".join(texts)
    drawn = path.read_text(encoding="utf-8")
    if name == "choices, odd names":
        assert "\x1b" not in drawn and "task_$y_{2}$\\x1b[31m" in drawn
        if kind in ("parallel_coordinates", "slices"):
            assert ">opt_$x_1$<" in drawn and ">$c^2$<" in drawn and ">日本_€<" in drawn and ">None<" in drawn


def test_the_incumbent_is_the_best_score_so_far(usual):
    for study in (usual, STUDIES["minimised, no space"]()):
        axes = study.plot.incumbent().axes[0]
        (line,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
        worst_first = min if study.direction == "minimize" else max
        scored = [
            (u.time, u.validation) for r in study.reports for u in r.units if math.isfinite(u.validation)
        ]
        for time, best in zip(*line.get_data(), strict=True):
            assert best == worst_first(score for at, score in scored if at <= time)
        assert line.get_ydata()[-1] == study.best_value
        arrived = sum(report.outcome == "ok" for report in study.reports)
        assert sum(len(points.get_offsets()) for points in axes.collections) == arrived
        lost = sum(report.outcome in ("failed", "diverged") for report in study.reports)
        assert any(f"{lost} lost" == t.get_text() for t in axes.figure.legends[0].get_texts())


def test_learning_curves_are_all_there(usual):
    axes = usual.plot.learning_curves().axes[0]
    curves = [path for lines in axes.collections for path in lines.get_paths()]
    scored = [trial for trial in usual.trials if trial.best is not None]
    assert len(curves) == len(scored)
    drawn = {tuple(map(tuple, path.vertices)) for path in curves}
    for trial in scored:
        assert tuple((float(u.unit), u.validation) for u in trial.units) in drawn
    assert "trials were lost before they had a score" in axes.texts[0].get_text()


def test_parallel_coordinates_pass_through_the_values(usual):
    axes = usual.plot.parallel_coordinates(top=3).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == [*MIXED.names, "validation accuracy"]
    coloured = [line for line in axes.lines if len(line.get_xdata()) == len(MIXED) + 1]
    assert len(coloured) == 3
    best = coloured[-1].get_ydata()  # drawn last, on top
    config = usual.best_config
    for height, parameter in zip(best, MIXED, strict=False):
        absent = parameter.name not in config
        assert height < 0 if absent else height == pytest.approx(parameter.encode(config[parameter.name]))
    assert any(text.get_text() == "off" for text in axes.texts)  # momentum is of one optimizer alone
    grey = sum(len(lines.get_paths()) for lines in axes.collections if isinstance(lines, LineCollection))
    assert grey + 3 == sum(t.best is not None or t.status in ("failed", "diverged") for t in usual.trials)
    with pytest.raises(InvalidArgumentError, match=r"^top: must be a whole number"):
        usual.plot.parallel_coordinates(top=0)


def test_slices_show_each_trials_best_score(usual):
    figure = usual.plot.slices()
    scored = [trial for trial in usual.trials if trial.best is not None]
    panels = {axes.get_xlabel(): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels) == list(MIXED.names)
    assert panels["lr"].get_xscale() == "log" and panels["weight_decay"].get_xscale() == "linear"
    points = panels["lr"].collections[0].get_offsets()
    assert {tuple(point) for point in points} == {(t.config["lr"], t.value) for t in scored}
    (star,) = [line for line in panels["lr"].lines if line.get_marker() == "*"]
    assert star.get_xydata().tolist() == [[usual.best_config["lr"], usual.best_value]]
    absent = sum("momentum" not in t.config for t in scored)
    assert panels["momentum"].texts[0].get_text() == f"not active in {absent} trials"


@pytest.mark.parametrize("workers", [1, 3])
def test_no_worker_does_two_things_at_once(bowl, workers):
    study = tune(bowl, asha(bowl.space, 20), seed=0, workers=workers)
    jobs = spans(study)
    assert len(jobs) == len(study.reports)
    assert {job.worker for job in jobs} == set(range(workers))
    for worker in range(workers):
        own = sorted((job.begin, job.end) for job in jobs if job.worker == worker)
        assert all(before[1] <= after[0] + 1e-12 for before, after in itertools.pairwise(own))
    title = study.plot.timeline().axes[0].get_title("left")
    busy = sum(job.end - job.begin for job in jobs) / (workers * max(job.end for job in jobs))
    assert title.endswith(f"workers busy {100 * busy:.0f} % of the time")


def test_the_cost_of_warm_starts_is_dark(usual):
    for job in spans(usual):  # 2 FLOPs at 10 a second
        cost = 0.2 if job.report.job.since == 0 else 0.0
        assert job.nudged - job.begin == pytest.approx(cost)
    labels = [text.get_text() for text in usual.plot.timeline().legends[0].get_texts()]
    assert "warm start" in labels
    assert "warm start" not in [t.get_text() for t in study_of().plot.timeline().legends[0].get_texts()]


def test_shifts_go_from_sampled_to_trained(usual):
    figure = usual.plot.shifts()
    axes = figure.axes[0]
    assert axes.get_xlabel() == "lr, as sampled" and axes.get_ylabel() == "lr, as trained"
    points = {tuple(point) for point in axes.collections[0].get_offsets()}
    assert points == {(t.sampled["lr"], t.config["lr"]) for t in usual.trials}
    panels = [a for a in figure.axes if a.get_visible() and a.get_xlabel().endswith("as sampled")]
    assert len(panels) == 1  # nothing else was moved


def test_a_score_that_exploded_does_not_squeeze_the_others():
    study = study_of(trials=20)
    scores = [0.1 * index for index in range(10)]
    scale = ScoreScale.of(study, [*scores, -1e12])
    assert scale.hidden == 1 and scale.low > -3 and scale.high > 0.9
    assert scale.beyond == "1 score below this axis"
    assert scale.visible(np.array([-1e12, 0.5, math.nan])).tolist()[:2] == [scale.low, 0.5]
    mirrored = ScoreScale.of(STUDIES["minimised, no space"](), [-score for score in (*scores, -1e12)])
    assert (mirrored.low, mirrored.high) == (-scale.high, -scale.low)
    assert mirrored.beyond == "1 score above this axis"


def test_losses_over_decades_are_on_a_logarithmic_axis():
    study = STUDIES["minimised, no space"]()
    assert study.plot.learning_curves().axes[0].get_yscale() == "log"
    assert study_of().plot.learning_curves().axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "1e-4"), (0.01, "0.01"), (0, "0"), (1234.5, "1234"), (3e6, "3e6"), (-2e-7, "-2e-7")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_an_axis_is_marked_from_end_to_end():
    marks = Dimension(Real("lr", 1e-5, 1.0, log=True)).ticks()
    assert (marks[0][1], marks[-1][1]) == ("1e-5", "1") and len(marks) == 6
    assert [place for place, _ in marks] == pytest.approx(np.linspace(0, 1, 6))
    assert len(Dimension(Categorical("c", tuple(range(50)))).ticks()) <= 12


def test_many_rungs_are_drawn_in_groups():
    rungs = Rungs.of(STUDIES["many rungs"]())
    assert len(rungs.milestones) == 12 and len(rungs.ends) <= 7
    assert [rungs.group(unit) for unit in rungs.milestones] == sorted(map(rungs.group, rungs.milestones))
    assert rungs.label(len(rungs.ends) - 1).endswith(" to 12")


@pytest.mark.parametrize("kind", PICTURES)
def test_a_study_without_anything_to_draw_is_refused_in_one_line(kind, bowl):
    empty = Study(History(), 0, math.inf)
    with pytest.raises(InvalidArgumentError, match=rf"^{kind}: the study must have a trial, but got 0; "):
        getattr(empty.plot, kind)()
    if kind in ("timeline", "shifts"):
        return
    failed = tune(AlwaysFails(), asha(bowl.space), seed=0)
    with pytest.raises(
        InvalidArgumentError, match=rf"^{kind}: the study must have a score, but .*12 failed"
    ) as e:
        getattr(failed.plot, kind)()
    assert "\n" not in str(e.value)


def test_a_study_that_lost_every_trial_has_a_timeline(bowl):
    study = tune(AlwaysFails(), asha(bowl.space), seed=0, workers=2)
    texts = study.plot.timeline().legends[0].get_texts()
    assert "12 lost" in [text.get_text() for text in texts]


@pytest.mark.parametrize("kind", [kind for kind in PICTURES if kind not in ("importance", "shifts")])
def test_pictures_while_it_runs(kind, bowl):
    """Also of a study whose first job is not back, or whose trials fail and diverge."""
    seen = []

    def look(study, report):
        seen.append(len(getattr(study.plot, kind)().axes) > 0)
        study.stop()

    tune(Minimised(), asha(bowl.space), seed=0, workers=3, direction="minimize", callbacks=[look])
    assert seen == [True]
    assert getattr(tune(Troubled(), asha(bowl.space, 30), seed=0).plot, kind)().axes


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png"])
def test_equal_studies_give_equal_files(usual, suffix, tmp_path):
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"
    usual.plot.slices(path=one)
    STUDIES["usual"]().plot.slices(path=str(other))
    assert one.read_bytes() == other.read_bytes()
    magic = {".pdf": b"%PDF", ".svg": b"<?xml", ".png": b"\x89PNG"}
    assert one.read_bytes().startswith(magic[suffix])
    assert sorted(path.name for path in tmp_path.iterdir()) == [one.name, other.name]


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("study.jpg", "must end in one of .pdf, .svg, .png"),
        ("nowhere/study.pdf", "must lie in a folder that is there"),
        (3, "must be the path of a file"),
    ],
)
def test_a_path_is_checked_before_any_work(path, rule, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    empty = Study(History(), 0, math.inf)
    with pytest.raises(InvalidArgumentError, match=rf"^path: {re.escape(rule)}, but got"):
        empty.plot.incumbent(path=path)


def test_the_look_is_ours_and_nothing_stays_changed(usual, tmp_path):
    usual.plot.incumbent(path=tmp_path / "a.pdf")
    with mpl.rc_context({"font.size": 30, "axes.grid": False, "text.parse_math": True}):
        before = dict(mpl.rcParams)
        figure = usual.plot.incumbent(path=tmp_path / "b.pdf")
        assert dict(mpl.rcParams) == before
        figure.savefig(tmp_path / "mine.png")
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows


def test_five_thousand_trials_are_pixels_in_small_files(tmp_path):
    study = study_of(trials=5000, rungs=(1, 3), workers=50, nudge=nudged, lost=0.02)
    for kind in PICTURES:
        if kind != "importance":
            path = tmp_path / f"{kind}.pdf"
            getattr(study.plot, kind)(path=path)
            assert path.stat().st_size < 700_000, kind


def test_without_matplotlib_the_extra_is_named(usual, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        MissingExtraError, match=r"^plot needs matplotlib, .* pip install 'hypernudge\[harness\]'"
    ):
        usual.plot.slices()


def test_a_study_loads_no_picture():
    code = (
        "import sys, hypernudge.study.study\n"
        "sys.exit(sorted({'matplotlib', 'sklearn', 'scipy.stats'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_picture_is_a_method_with_a_docstring():
    from hypernudge.study.analysis.pictures import Plots

    for kind in PICTURES:
        assert "path: Where it is written" in getattr(Plots, kind).__doc__


def test_the_command_draws_a_kept_study(bowl, tmp_path, capsys):
    tune(bowl, asha(bowl.space), seed=0, warm_start="fixed_band", study=tmp_path / "mine")
    output = tmp_path / "shifts.pdf"
    command = ["plot", str(tmp_path / "mine"), "--output", str(output)]
    assert main([*command, "--kind", "shifts"]) == 0
    assert output.read_bytes().startswith(b"%PDF") and str(output) in capsys.readouterr().err
    assert main([*command, "--kind", "shift"]) == 2
    assert "--kind: must be one of the known names" in capsys.readouterr().err
    assert main(["plot", str(tmp_path / "none"), "--kind", "slices", "--output", str(output)]) == 2
    assert "there is no" in capsys.readouterr().err


def test_what_a_user_draws_is_drawn_by_the_command(bowl, tmp_path):
    tune(bowl, asha(bowl.space), seed=0, study=tmp_path / "mine")
    kind, output = "tests.study.test_plots:own_picture", tmp_path / "own.png"
    assert main(["plot", str(tmp_path / "mine"), "--kind", kind, "--output", str(output)]) == 0
    assert output.read_text() == "12 trials"


def own_picture(study, path):
    path.write_text(f"{len(study.trials)} trials")
