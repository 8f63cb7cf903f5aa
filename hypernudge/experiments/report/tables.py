"""Tables of saved runs, by topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hypernudge.evidence.report.tables import Table
from hypernudge.evidence.statistics.intervals import mean_interval
from hypernudge.experiments.report.comparisons import METRICS, paired_differences, paired_values
from hypernudge.experiments.report.runs import Run, Runs

Rows = list[dict[str, Any]]


def clean_table(runs: Runs) -> Table:
    """Accuracies of the runs on clean labels."""
    return _accuracies(
        runs.where(run for run in runs.runs if run.noise == "clean"), "accuracy_clean", "clean labels"
    )


def noisy_table(runs: Runs) -> Table:
    """Accuracies of the runs on labels that were made wrong, with what they memorised of them."""
    noisy = runs.where(run for run in runs.runs if run.noise != "clean")
    return _accuracies(noisy, "accuracy_noisy", "labels made wrong in training", _memorised)


def difference_table(runs: Runs) -> Table:
    """Paired differences with intervals and Holm-corrected p."""
    rows = [
        {
            "condition": d.condition,
            "metric": d.metric,
            "method": d.variant,
            "against": d.rival,
            "pairs": len(d.values),
            "difference": d.mean.estimate,
            "low": d.mean.low,
            "high": d.mean.high,
            "wins": int((d.values > 0).sum()),
            "losses": int((d.values < 0).sum()),
            "p": d.p,
            "Holm p": d.adjusted,
            "least p": d.least_p,
        }
        for d in paired_differences(runs)
    ]
    caption = (
        "paired differences of validation accuracy in points (first minus second), 95 % t interval, exact "
        "signed-rank p, Holm per metric; where `least p` is not below .05 nothing could have been significant"
    )
    return Table("paired_differences", caption, pd.DataFrame(rows))


def overhead_table(runs: Runs) -> Table:
    """What the episodes cost: time of training against the baseline's, on equal hardware and seeds."""
    rows: Rows = []
    for condition in runs.conditions:
        variants = runs.variants(condition)
        base = next((members for members in variants.values() if members[0].is_baseline), [])
        for name, members in variants.items():
            ratios = paired_values(members, base, _log_time_ratio)
            ratio = mean_interval(ratios[np.isfinite(ratios)]).exp()
            metadata = [run.result.runtime_metrics["aees_overhead_metadata"] for run in members]
            rows.append(
                {
                    "condition": condition,
                    "method": name,
                    "seeds": len(members),
                    "train time": _median(members, lambda run: training_time(run)[0]),
                    "clock": training_time(members[0])[1],
                    "pairs": int(np.isfinite(ratios).sum()),
                    "time ratio": ratio.estimate,
                    "ratio low": ratio.low,
                    "ratio high": ratio.high,
                    "samples per s": _median(
                        members, lambda r: r.result.runtime_metrics["train_samples_per_second"]
                    ),
                    "TFLOP": _median(members, lambda run: run.result.estimated_flops / 1e12),
                    "episodes": _median_of([entry["episodes"] for entry in metadata]),
                    "noisy steps": _median_of([entry["noisy_steps"] for entry in metadata]),
                }
            )
    caption = (
        "time of training in seconds, median over seeds (`clock`: CPU time of the process, or wall time), "
        "and its ratio to the baseline's, geometric mean over seeds on equal hardware, 95 % t interval"
    )
    return Table("overhead", caption, pd.DataFrame(rows))


def efficiency_table(runs: Runs) -> Table:
    """Accuracy per TFLOP, and what it is made of."""
    rows = [
        {
            "condition": condition,
            "method": name,
            "seeds": len(members),
            "peak %": _mean(members, METRICS["peak"]),
            "TFLOP": _mean(members, lambda run: run.result.estimated_flops / 1e12),
            "accuracy per TFLOP": _mean(members, lambda run: run.result.accuracy_per_tflop),
        }
        for condition in runs.conditions
        for name, members in runs.variants(condition).items()
    ]
    caption = "peak validation accuracy (a share of 1) per TFLOP of training and validation, means over seeds"
    return Table("accuracy_per_tflop", caption, pd.DataFrame(rows))


def arm_table(runs: Runs) -> Table:
    """How often each arm was pulled, and what it earned."""
    rows: Rows = []
    for condition in runs.conditions:
        for name, members in runs.variants(condition).items():
            for axis in ("lr", "noise"):
                rows += [{"condition": condition, "method": name, **row} for row in _arms(members, axis)]
    caption = "share of episodes and mean reward of every arm of the axes that had a choice, over all seeds"
    return Table("arms", caption, pd.DataFrame(rows))


TABLES: dict[str, Callable[[Runs], Table]] = {
    "clean": clean_table,
    "noisy": noisy_table,
    "paired_differences": difference_table,
    "overhead": overhead_table,
    "accuracy_per_tflop": efficiency_table,
    "arms": arm_table,
}


def training_time(run: Run) -> tuple[float, str]:
    """Return the time of training without validation, seconds, and of which clock.

    CPU time on a CPU, where it does not count what else the machine did; wall time with an accelerator.
    """
    metrics = run.result.runtime_metrics
    if metrics["hardware"]["device"] == "cpu":
        return float(metrics["train_cpu_seconds"]), "CPU"
    return float(metrics["train_seconds"]), "wall"


def _log_time_ratio(run: Run, base: Run) -> float:
    """NaN across hardware: such times say nothing about the method."""
    if run.result.runtime_metrics["hardware"] != base.result.runtime_metrics["hardware"]:
        return float("nan")
    return float(np.log(training_time(run)[0] / training_time(base)[0]))


def _accuracies(
    runs: Runs, name: str, what: str, more: Callable[[Sequence[Run]], dict[str, Any]] = lambda members: {}
) -> Table:
    rows = [
        {
            "condition": condition,
            "method": variant,
            "seeds": len(members),
            **_spread("final", members),
            **_spread("peak", members),
            "drop": _drop(members),
            "train loss": _median_of([run.result.final_train_loss for run in members]),
            **_test(members),
            **more(members),
        }
        for condition in runs.conditions
        for variant, members in runs.variants(condition).items()
    ]
    caption = (
        f"validation accuracy in percent on {what}: mean and standard deviation over seeds, final and peak "
        "(the best epoch, chosen on the same data), and how much the end lies below the peak"
    )
    return Table(name, caption, pd.DataFrame(rows))


def _spread(metric: str, members: Sequence[Run]) -> dict[str, float]:
    values = _values(members, METRICS[metric])
    deviation = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return {f"{metric} %": float(values.mean()), f"{metric} sd": deviation}


def _drop(members: Sequence[Run]) -> float:
    return float((_values(members, METRICS["peak"]) - _values(members, METRICS["final"])).mean())


def _test(members: Sequence[Run]) -> dict[str, float | None]:
    """Test accuracy of the epoch that validation chose, where it was evaluated."""
    found = [run.result.runtime_metrics.get("test_accuracy_at_best") for run in members]
    known = [100 * value for value in found if value is not None]
    return {"test at peak %": float(np.mean(known))} if len(known) == len(found) else {}


def _memorised(members: Sequence[Run]) -> dict[str, float | None]:
    key = "train_accuracy_corrupted_subset_noisy_labels"
    found = [(run.result.runtime_metrics["label_noise_diagnostics"] or {}).get(key) for run in members]
    known = [100 * value for value in found if value is not None]
    return {"wrong labels learned %": float(np.mean(known)) if known else None}


def _arms(members: Sequence[Run], axis: str) -> Rows:
    logs = [run.result.controller_logs or {} for run in members]
    of_axis = [log.get(f"{axis}_controller_logs", {}) for log in logs]
    if not all(log.get("controller_created") for log in of_axis):
        return []
    pulls = np.array([log["pulls"] for log in of_axis], dtype=np.float64)
    rewards = np.array([log["mean_rewards"] for log in of_axis], dtype=np.float64)
    earned = np.nansum(pulls * rewards, axis=0) / np.maximum(pulls.sum(0), 1)
    return [
        {"axis": axis, "arm": f"{arm:g}", "share": share, "mean reward": reward, "episodes": int(count)}
        for arm, share, reward, count in zip(
            of_axis[0]["arm_values"], pulls.sum(0) / pulls.sum(), earned, pulls.sum(0), strict=True
        )
    ]


def _values(members: Sequence[Run], score: Callable[[Run], float]) -> NDArray[np.float64]:
    return np.array([score(run) for run in members], dtype=np.float64)


def _mean(members: Sequence[Run], score: Callable[[Run], float]) -> float:
    return float(_values(members, score).mean())


def _median(members: Sequence[Run], score: Callable[[Run], float]) -> float:
    return float(np.median(_values(members, score)))


def _median_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
