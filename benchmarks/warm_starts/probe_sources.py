"""Where may the scale of the learning rate come from? Four sources against the rate that turned out best.

    export HYPERNUDGE_DATA=...
    hypernudge run config/prior.yaml --results-dir results/prior
    hypernudge run config/raw_inputs.yaml --results-dir results/raw_inputs
    python -m benchmarks.warm_starts.probe_sources results/prior results/raw_inputs --output FOLDER

The records tell the best effective rate of every task: the median of the best tenth of its configurations.
A source is good if its distance from that is the same on every task and at every seed.

- probe: what the walk of `informed` measures, five throw-away steps of their own length;
- believed: what `informed` makes of it, raised where it lies below the usual scale;
- own steps: the same measurement along the first trial's own training, so that nothing is thrown away and
  one more loss is the whole fee;
- curvature: the Hessian-vector product at the initialisation (`curvature_band`);
- constant: nothing is measured.

The seeds are for development; the configurations of the first trials are draws of the task's space.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.sealed import sealed
from hypernudge.harness.cells.build import prepare
from hypernudge.harness.cells.provenance import provenance
from hypernudge.harness.inspection.prior import UNITS, scores_at, targets
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.hypergradient import gather_batch
from hypernudge.hypergradient.curvature import loss_difference
from hypernudge.plotting import style
from hypernudge.results.files import write_text
from hypernudge.space import Config
from hypernudge.task import GradientTask
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.measure import curvature_rate
from hypernudge.warmstart.measurement.probe import MEDIAN_SCALE, Probe, shrunk_scale
from hypernudge.warmstart.measurement.walk import walk

SEEDS = range(70_100, 70_112)
BEST = 0.1  # share of the configurations that count as best
WINDOWS = ((2, 5), (8, 11), (20, 23))  # own steps at which is measured, first and end
CURVATURE_SAMPLES = 128
SOURCES = ("probe", "believed", *(f"own steps {a + 1} to {b}" for a, b in WINDOWS), "curvature", "constant")
MARKS: dict[str, dict[str, Any]] = {
    "scaled": {"marker": "o", "color": "#0072B2", "markersize": 3.0},
    "raw": {"marker": "s", "color": "#E69F00", "markersize": 3.0},
}


def best_rates(directory: Path, task_name: str, task: GradientTask) -> tuple[float, float]:
    """Return median and interquartile range of `log10` effective rate in the best tenth of configurations."""
    ranked: list[tuple[float, float]] = []
    for variation, _, record in sealed(directory):
        if variation.task == task_name and record["status"] == "completed":
            trials = record["trials"]
            scores = targets(scores_at(record["curve"], [trial["trial"] for trial in trials], UNITS))
            x = [rates.log_rate(task, Config(trial["nudged"])) for trial in trials]
            ranked += zip(scores.tolist(), x, strict=True)
    ranked.sort(reverse=True)
    low, median, high = np.quantile([x for _, x in ranked[: round(BEST * len(ranked))]], [0.25, 0.5, 0.75])
    return float(median), float(high - low)


def own_steps(task: GradientTask, config: Config, seed: int) -> Iterator[float]:
    """Yield `log10 lr*` before each of the first steps of the trial's own training; NaN without one."""
    state = task.start(seed)
    hp: dict[str, Any] = dict(config)
    still = {**hp, "augmentation": 0.0} if "augmentation" in hp else hp
    floats = {name: value for name, value in hp.items() if isinstance(value, int | float)}
    samples = Probe().samples(task)
    for step in range(max(end for _, end in WINDOWS)):
        leaves = {
            name: value.detach().requires_grad_(True) for name, value in task.trained(state.params).items()
        }
        batch = gather_batch(task, seed, step, samples)
        lr_star = loss_difference(task, {n: w.detach() for n, w in leaves.items()}, batch, still)[0].lr_star
        yield math.log10(lr_star) if lr_star > 0 else math.nan
        loss, _ = task.loss_and_buffers({**state.params, **leaves}, task.batch(seed, step), hp)
        grads = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        task.optimizer.update_(leaves, grads, state.optimizer_state, floats)
        state.params = {**state.params, **{name: value.detach() for name, value in leaves.items()}}


def sources(task: GradientTask, seed: int) -> dict[str, float]:
    """Return what every source says at one seed: `log10` of a scale, NaN if it says nothing."""
    config, probe = task.space.sample(np.random.default_rng(seed)), Probe()
    walked = walk(task, config, seed, probe.steps, probe.samples(task))[0][probe.skip :]
    own = list(own_steps(task, config, seed))
    lr_star, _ = curvature_rate(task, config, seed, CURVATURE_SAMPLES)
    probed = float(np.mean(walked)) if walked else math.nan
    said = [
        probed,
        shrunk_scale(probed, rates.rule_of(task)),
        *(float(np.mean(own[a:b])) for a, b in WINDOWS),
        math.log10(lr_star) if lr_star > 0 else math.nan,
        MEDIAN_SCALE[rates.rule_of(task)],
    ]
    return {source: round(value, 4) for source, value in zip(SOURCES, said, strict=True)}


def summary(best: dict[str, float], said: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Return a row per source and group of tasks: how far, in decades, from the best rate.

    The distance that a source has at the median of the well-scaled tasks is not counted as an error: a prior
    knows it.
    """
    groups = {
        "scaled": [name for name in best if not name.endswith("_raw")],
        "raw": [name for name in best if name.endswith("_raw")],
    }
    rows = []
    for source in SOURCES:
        distances = {name: best[name] - np.array([at[source] for at in said[name]]) for name in best}
        usual = float(np.nanmedian(np.concatenate([distances[name] for name in groups["scaled"]])))
        for group, names in groups.items():
            if names:
                errors = np.abs(np.concatenate([distances[name] for name in names]) - usual)
                seeds = [distances[name][np.isfinite(distances[name])].std(ddof=1) for name in names]
                rows.append(
                    {
                        "source": source,
                        "inputs": group,
                        "tasks": len(names),
                        "median_error": float(np.nanmedian(errors)),
                        "error_90": float(np.nanquantile(errors, 0.9)),
                        "between_seeds": float(np.median(seeds)),
                        "silent": int(np.isnan(errors).sum()),
                    }
                )
    return rows


def table(rows: list[dict[str, Any]], others: list[dict[str, float]]) -> str:
    """Return sources and rules in Markdown."""
    lines = [
        "| source | inputs | tasks | error, median [decades] | its 90 % quantile | between seeds | silent |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['source']} | {r['inputs']} | {r['tasks']} | {r['median_error']:.2f} | {r['error_90']:.2f} | "
        f"{r['between_seeds']:.2f} | {r['silent']} |"
        for r in rows
    ]
    lines += [
        "",
        "| doubt | slack [decades] | error, median [decades] | its 75 % quantile |",
        "|---|---|---|---|",
    ]
    lines += [f"| {r['doubt']:g} | {r['slack']:g} | {r['error']:.2f} | {r['error_75']:.2f} |" for r in others]
    return "\n".join(lines) + "\n"


def rules(best: dict[str, float], said: dict[str, list[dict[str, float]]]) -> list[dict[str, float]]:
    """Return what other constants of `shrunk_scale` would have given: the error at the median seed of a task.

    A probe below the usual scale is raised by a share `doubt` of the difference, by `slack` decades at most;
    `doubt` 0 is the probe itself. The median over all tasks is taken: on two of them no rate is best.
    """
    rows = []
    for doubt in (0.0, 0.25, 0.5, 0.75, 1.0):
        for slack in (0.5, 0.7, 0.9) if doubt else (0.0,):
            distances = []
            for name, seeds in said.items():
                probed = np.array([at["probe"] for at in seeds])
                raised = np.minimum(doubt * np.maximum(MEDIAN_SCALE["SGD"] - probed, 0.0), slack)
                distances.append(float(np.nanmedian(best[name] - probed - raised)))
            errors = np.abs(np.array(distances) - np.median(distances))
            upper = float(np.quantile(errors, 0.75))
            rows.append(
                {"doubt": doubt, "slack": slack, "error": float(np.median(errors)), "error_75": upper}
            )
    return rows


def draw(best: dict[str, float], width: dict[str, float], said: dict[str, list[dict[str, float]]]) -> Figure:
    """Return the figure: best rate against what a source says, a mark for each task."""
    shown = [source for source in SOURCES if source not in ("constant", *SOURCES[3:5])]
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 2.4), layout="constrained")
        panels = list(figure.subplots(1, len(shown), sharey=True, squeeze=False).flat)
        for axes, source in zip(panels, shown, strict=True):
            axes.axline((0, 0), slope=1, color="0.7", linewidth=0.8)
            for name in best:
                values = np.array([at[source] for at in said[name]])
                values = values[np.isfinite(values)]
                axes.errorbar(
                    values.mean(),
                    best[name],
                    xerr=[[values.mean() - values.min()], [values.max() - values.mean()]],
                    yerr=width[name] / 2,
                    linewidth=0.6,
                    **MARKS["raw" if name.endswith("_raw") else "scaled"],
                )
            axes.set_title(source)
            axes.set_xlim(-6, 2)
            axes.set_ylim(-6, 2)
        panels[0].set_ylabel("best rate [log10]")
        figure.supxlabel("what the source says [log10], mean and range of 12 seeds", fontsize="medium")
        for inputs, mark in MARKS.items():
            panels[0].plot([], [], linestyle="", label=f"{inputs} inputs", **mark)
        panels[0].legend(loc="lower right")
    return figure


def redraw(sources: Path, path: Path) -> None:
    """Write the figure of what `main` has written, as SVG."""
    found = json.loads(sources.read_text("utf-8"))
    with style.context():  # its salt makes the same bytes for the same numbers
        write_text(path, style.as_svg(draw(found["best"], found["width"], found["said"])))


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", nargs="+", type=Path, help="results directories of random search")
    parser.add_argument("--output", type=Path, required=True, help="folder for sources.json and table.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    best: dict[str, float] = {}
    width: dict[str, float] = {}
    said: dict[str, list[dict[str, float]]] = {}
    for directory in options.records:
        plan = load_plan(directory / "experiment.yaml")
        for variation in plan.variations:
            name, task = variation.labels["task"], prepare(variation.spec).task
            if name in best or not isinstance(task, GradientTask):
                continue
            best[name], width[name] = best_rates(directory, name, task)
            said[name] = [sources(task, seed) for seed in SEEDS]
            probed = np.mean([at["probe"] for at in said[name]])
            sys.stderr.write(f"{name}: best 10^{best[name]:.2f} ({width[name]:.2f}), probe 10^{probed:.2f}\n")
    rows, others = summary(best, said), rules(best, said)
    options.output.mkdir(parents=True, exist_ok=True)
    found = {
        "seeds": list(SEEDS),
        "rows": rows,
        "best": best,
        "width": width,
        "said": said,
        "provenance": provenance(),
    }
    (options.output / "sources.json").write_text(json.dumps(found) + "\n")
    (options.output / "table.md").write_text(table(rows, others))
    redraw(options.output / "sources.json", options.output / "sources.svg")
    sys.stdout.write(table(rows, others))
    return 0


if __name__ == "__main__":
    sys.exit(main())
