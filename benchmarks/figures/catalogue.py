"""Which figures are published, from which records each is drawn, and how."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.evidence.rejudged import RESULTS, Block

ROOT = RESULTS.parents[1]
METHODS = ("informed", "probe_band", "curvature_band", "fixed_band", "literal")
"""Panels of the figures of the confirmation study, where they were run."""


@dataclass(frozen=True)
class Figures:
    """Figures that are drawn together.

    Attributes:
        folder: Where they are published, below `benchmarks/results`.
        names: Of their files.
        records: What they are drawn from, below `benchmarks/results`.
        draw: Writes them into a folder.
    """

    folder: str
    names: tuple[str, ...]
    records: tuple[str, ...]
    draw: Callable[[Path], None]


def _pooled(names: Sequence[str], methods: Sequence[str]) -> Callable[[Path], None]:
    def draw(folder: Path) -> None:
        from benchmarks.confirmation import figure
        from benchmarks.figures.published import settings

        found = settings([_block(name) for name in names])
        figure.save(found, [m for m in methods if any(t.method == m for t in found)], folder)

    return draw


def _block(name: str) -> Block:
    """Return the published block whose cells are `name`, a path below `benchmarks/results`."""
    cells = RESULTS / name
    own = cells.name.removesuffix("_cells.csv.gz")
    inside = cells.parent / own
    return Block(own, cells, inside if inside.is_dir() else cells.parent)


def _confirmation(
    folder: str, names: tuple[str, ...], *blocks: str, methods: Sequence[str] = METHODS
) -> Figures:
    cells = tuple(f"confirmation/{block}_cells.csv.gz" for block in blocks)
    return Figures(folder, names, cells, _pooled(cells, methods))


def _forest(study: str) -> Figures:
    evaluation = f"{study}/evaluation.json"

    def draw(folder: Path) -> None:
        from benchmarks.figures.published import forest_of
        from hypernudge.plotting import style
        from hypernudge.results.files import write_text

        figure = forest_of(RESULTS / evaluation)
        with style.context():
            write_text(folder / "forest_time_to_target.svg", style.as_svg(figure))

    return Figures(study, ("forest_time_to_target.svg",), (evaluation,), draw)


def _leaders(study: str) -> Figures:
    times = f"{study}/leaders.csv"

    def draw(folder: Path) -> None:
        from benchmarks.confirmation import leaders

        leaders.save(leaders.read(RESULTS / times), folder)

    return Figures(study, ("leaders.svg",), (times,), draw)


def _ablation(folder: Path) -> None:
    from benchmarks.warm_starts import ablation
    from benchmarks.warm_starts.cells import Kept

    ablation.save(Kept(RESULTS / _ABLATION), folder)


def _episodes(folder: Path) -> None:
    from benchmarks.episodes_effect.report import redraw

    redraw(RESULTS / "episodes_effect", folder)


def _fine_tuning(folder: Path) -> None:
    from benchmarks.episodes_effect.fine_tuning_figure import redraw

    redraw(RESULTS / "episodes_fine_tuning" / "rows.jsonl", folder / "accuracy.svg")


def _learning(folder: Path) -> None:
    from benchmarks.learning import figure

    results = [json.loads((RESULTS / "learning" / name).read_text("utf-8")) for name in _CURVES]
    figure.write(results, folder / "curves.svg")


def _games(folder: Path) -> None:
    from benchmarks.games import figure

    results = [json.loads((RESULTS / name).read_text("utf-8")) for name in _GAMES]
    figure.write(results, folder / "curves.svg")


def _probe_sources(folder: Path) -> None:
    from benchmarks.warm_starts.probe_sources import redraw

    redraw(RESULTS / "probe_sources" / "sources.json", folder / "sources.svg")


def _winners(published: str) -> Figures:
    def draw(folder: Path) -> None:
        from benchmarks.real_networks.winners import redraw
        from hypernudge.plotting import style
        from hypernudge.results.files import write_text

        with style.context():
            write_text(folder / "winners.svg", style.as_svg(redraw(RESULTS / published)))

    return Figures(published, ("winners.svg",), (f"{published}/points.csv", f"{published}/winners.csv"), draw)


def _scale(folder: Path) -> None:
    from benchmarks.schedulers.scale import draw, medians

    rows = medians(json.loads((RESULTS / "schedulers" / "scale.json").read_text("utf-8"))["rows"])
    for suffix in ("pdf", "svg"):
        draw(rows, folder / f"scale.{suffix}")


def _sst2(folder: Path) -> None:
    from hypernudge.experiments.report.commands import report_command

    made = folder / "made"
    with contextlib.redirect_stdout(io.StringIO()):
        report_command("sst2", [str(RESULTS / _RECORDS), "--output-dir", str(made), "--svg"])
    for path in made.glob("*.[ps][dv][fg]"):
        path.replace(folder / path.name)
    shutil.rmtree(made)


_CURVES = ("tiny_shakespeare.json", "resnet20.json", "wikitext2.json")
_GAMES = tuple(f"games/{name}.json" for name in ("cartpole", "acrobot", "pong", "boxing", "freeway"))
_RECORDS = "sst2_minilm/records"
_SST2 = (
    "accuracy_per_tflop",
    "arm_histories_lr",
    "arm_histories_noise",
    "learning_curves",
    "overhead",
    "paired_differences",
)
_NETWORKS = "real_networks/real_networks_cells.csv.gz"
_NETWORKS_SECOND = (
    "real_networks/second_edition/second_edition_networks_cells.csv.gz",
    "real_networks/second_edition/language/second_edition_language_cells.csv.gz",
)
_TREES = "xgboost/cells.csv.gz"
_SECOND = "second_edition/study/second_edition_cells.csv.gz"
_SECOND_RAW = "second_edition/raw/second_edition_raw_cells.csv.gz"
_SECOND_ADAMW = "second_edition/adamw/second_edition_adamw_cells.csv.gz"
_THIRD_ADAMW = "third_edition/adamw/third_edition_adamw_cells.csv.gz"
_THIRD_NETWORKS = "third_edition/networks/third_edition_networks_cells.csv.gz"
_THIRD = "third_edition/study/third_edition_cells.csv.gz"
_THIRD_NARROW = "third_edition/narrow/study/third_edition_narrow_cells.csv.gz"
_THIRD_AGAIN = "third_edition/mid_again/study/third_edition_mid_again_cells.csv.gz"
_THIRD_WIDE = "third_edition/wide/study/third_edition_wide_cells.csv.gz"
_THIRD_RAW = "third_edition/raw/study/third_edition_raw_cells.csv.gz"
_ABLATION = "second_edition/ablation/ablation.jsonl"
_TREES_PER_COST = "xgboost_per_cost/cells.csv.gz"

FIGURES = (
    _confirmation("confirmation", ("ratios.svg", "spaces.svg"), "asha", "hyperband", "narrow", "informed"),
    _confirmation(
        "confirmation/raw",
        ("ratios.svg",),
        "raw/raw",
        methods=("informed", "informed_unprobed", "fixed_band"),
    ),
    _confirmation(
        "confirmation/schedulers", ("ratios.svg",), "schedulers/schedulers", "dyhpo/dyhpo", "boil/boil"
    ),
    _confirmation("confirmation/untouched", ("ratios.svg",), "untouched/untouched"),
    Figures(
        "real_networks",
        ("ratios.svg",),
        (_NETWORKS,),
        _pooled((_NETWORKS,), ("informed", "fixed_band", "placebo", "literal")),
    ),
    _winners("real_networks"),
    Figures(
        "real_networks/second_edition",
        ("ratios.svg",),
        _NETWORKS_SECOND,
        _pooled(_NETWORKS_SECOND, ("stopping-informed", "stopping-language", "stopping-none")),
    ),
    _winners("real_networks/second_edition"),
    Figures(
        "xgboost",
        ("ratios.svg",),
        (_TREES,),
        _pooled((_TREES,), ("informed", "density", "literal", "random_step", "placebo")),
    ),
    _leaders("second_edition"),
    _leaders("third_edition/mid_again"),
    Figures("second_edition/ablation", ("ablation.svg",), (_ABLATION,), _ablation),
    Figures("second_edition/study", ("ratios.svg",), (_SECOND,), _pooled((_SECOND,), ("stopping-informed",))),
    Figures(
        "second_edition/adamw",
        ("ratios.svg",),
        (_SECOND_ADAMW,),
        _pooled((_SECOND_ADAMW,), ("stopping-informed", "asha-informed", "stopping-none")),
    ),
    Figures(
        "third_edition/adamw",
        ("ratios.svg",),
        (_THIRD_ADAMW,),
        _pooled((_THIRD_ADAMW,), ("stopping-near", "stopping-tables")),
    ),
    Figures(
        "third_edition/networks",
        ("ratios.svg",),
        (_THIRD_NETWORKS,),
        _pooled((_THIRD_NETWORKS,), ("stopping-near", "stopping-tables")),
    ),
    Figures(
        "second_edition/raw",
        ("ratios.svg",),
        (_SECOND_RAW,),
        _pooled((_SECOND_RAW,), ("stopping-informed", "stopping-informed_unprobed")),
    ),
    Figures(
        "third_edition/study",
        ("ratios.svg",),
        (_THIRD,),
        _pooled((_THIRD,), ("stopping-near", "stopping-informed")),
    ),
    Figures(
        "third_edition/narrow/study",
        ("ratios.svg",),
        (_THIRD_NARROW,),
        _pooled((_THIRD_NARROW,), ("stopping-near", "stopping-informed")),
    ),
    Figures(
        "third_edition/mid_again/study",
        ("ratios.svg",),
        (_THIRD_AGAIN,),
        _pooled((_THIRD_AGAIN,), ("stopping-near", "stopping-tables")),
    ),
    Figures(
        "third_edition/wide/study",
        ("ratios.svg",),
        (_THIRD_WIDE,),
        _pooled((_THIRD_WIDE,), ("stopping-near", "stopping-tables")),
    ),
    Figures(
        "third_edition/raw/study",
        ("ratios.svg",),
        (_THIRD_RAW,),
        _pooled((_THIRD_RAW,), ("stopping-near", "stopping-tables")),
    ),
    Figures(
        "xgboost_per_cost",
        ("ratios.svg",),
        (_TREES_PER_COST,),
        _pooled((_TREES_PER_COST,), ("informed",)),
    ),
    _forest("full_experiment"),
    _forest("schedulers_study"),
    _forest("games/cartpole_study"),
    Figures("episodes_effect", ("effect.pdf", "effect.svg"), ("episodes_effect/cells.csv",), _episodes),
    Figures("episodes_fine_tuning", ("accuracy.svg",), ("episodes_fine_tuning/rows.jsonl",), _fine_tuning),
    Figures("learning", ("curves.svg",), tuple(f"learning/{name}" for name in _CURVES), _learning),
    Figures("games", ("curves.svg",), _GAMES, _games),
    Figures("probe_sources", ("sources.svg",), ("probe_sources/sources.json",), _probe_sources),
    Figures("schedulers", ("scale.pdf", "scale.svg"), ("schedulers/scale.json",), _scale),
    Figures(
        "sst2_minilm",
        tuple(f"{name}.{kind}" for name in _SST2 for kind in ("pdf", "svg")),
        (_RECORDS,),
        _sst2,
    ),
)
