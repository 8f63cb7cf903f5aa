r"""What each change of the informed warm start gives: variants of its options on development tasks, paired.

    HYPERNUDGE_DATA=... python -m benchmarks.warm_starts.ablation \
        --output benchmarks/results/second_edition/ablation

Time to one target per task, whatever space and scheduler; the prior, `tables`, leaves the task's own family
out. What is in `ablation.jsonl` is not run again; the table and the figure (`ablation.svg`, stopping ASHA)
are made anew from it every time.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.warm_starts import ablation_figure, ideas
from benchmarks.warm_starts.cells import TARGETS, Kept, ratio, run
from hypernudge import Informed
from hypernudge.plotting import style
from hypernudge.results.files import write_text
from hypernudge.warmstart.base import NoWarmStart, WarmStart
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.policies.informed import FIRST_EDITION

FIRST, COUNT = 520_000, 16
MID = tuple(TARGETS)[:6]
NARROW = tuple(TARGETS)
SCHEDULERS = ("asha_stopping", "asha")
OLD, NEW = Informed(**FIRST_EDITION), Informed(prior=priors.TABLES)
MAIN: dict[str, WarmStart] = {
    "none": NoWarmStart(),
    "first edition": OLD,
    "+ 256 candidates": replace(OLD, candidates=256),
    "+ first four by the mean": replace(OLD, greedy_trials=4),
    "+ a quarter of the spread": replace(OLD, spread=0.25),
    "+ from 2 results, at each": replace(OLD, min_results=2, refresh=1),
    "+ no guards": replace(OLD, guards=False),
    "second edition": NEW,
    "- 24 candidates": replace(NEW, candidates=24),
    "- none by the mean": replace(NEW, greedy_trials=0),
    "- full spread": replace(NEW, spread=1.0),
    "- from 6 results, at every third": replace(NEW, min_results=6, refresh=3),
    "- guards": replace(NEW, guards=True),
}
"""The changes, each alone, all together, and all but each."""
FURTHER: dict[str, WarmStart] = {
    "no spread": replace(NEW, spread=0.0),
    "half the spread": replace(NEW, spread=0.5),
    "1024 candidates": replace(NEW, candidates=1024),
    "first eight by the mean": replace(NEW, greedy_trials=8),
    "spread falls to 0 in 30 trials": ideas.Fading(priors.TABLES, spread=0.5),
    "ranks at 1, 3, 9, 27 units": ideas.EveryUnit(priors.TABLES),
    "ranks at every unit": ideas.EveryUnit(priors.TABLES, units=()),
    "constant liar": ideas.Spread(priors.TABLES, lie=-1.0),
    "kriging believer": ideas.Spread(priors.TABLES, lie=0.0),
}
"""Other settings and ideas, each instead of what the second edition does."""
GROUPS = {
    "the first edition, and with one change": [v for v in MAIN if v == "first edition" or v.startswith("+")],
    "the second without one": [v for v in MAIN if v.startswith("-")],
    "tried beside, not kept": list(FURTHER),
}
"""Variants of the figure."""


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of cells and tables")
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument("--schedulers", nargs="+", default=SCHEDULERS)
    parser.add_argument("--spaces", nargs="+", default=["mid", "narrow"])
    parser.add_argument("--first", type=int, default=FIRST, help="first seed")
    parser.add_argument("--count", type=int, default=COUNT, help="pairs")
    args = parser.parse_args()
    variants = {**MAIN, **FURTHER}
    kept = Kept(args.output / "ablation.jsonl")
    seeds = range(args.first, args.first + args.count)
    for variant in args.variants or variants:
        for scheduler in args.schedulers:
            for space in args.spaces:
                for task in MID if space == "mid" else NARROW:
                    key = {"variant": variant, "scheduler": scheduler, "space": space, "task": task}
                    if kept.find(**key, first_seed=args.first):
                        continue
                    begun = time.process_time()
                    row = kept.add(run(task, space, scheduler, variants[variant], seeds), **key)
                    reached = f"{sum(row['reached'])} of {args.count}"
                    seconds = time.process_time() - begun
                    sys.stderr.write(f"{variant}, {scheduler}, {space}, {task}: {reached}, {seconds:.1f} s\n")
    text = tables(kept, args.first)
    (args.output / "ablation.md").write_text(text)
    save(kept, args.output, args.first)
    sys.stdout.write(text)
    return 0


def save(kept: Kept, folder: Path, first: int = FIRST) -> None:
    """Draw what is complete under stopping ASHA into `ablation.svg`; nothing where nothing is."""
    panels = {space: panel for space in ("mid", "narrow") if (panel := _panel(kept, space, first))}
    if panels:
        figure = ablation_figure.draw({f"{space} space": panel for space, panel in panels.items()})
        with style.context():
            write_text(folder / "ablation.svg", style.as_svg(figure))


def _panel(kept: Kept, space: str, first: int) -> list[ablation_figure.Row]:
    """Return the variants whose tasks are all there."""
    key = {"scheduler": "asha_stopping", "space": space, "first_seed": first}
    second = kept.find(variant="second edition", **key)
    found = []
    for group, variants in GROUPS.items():
        for variant in variants:
            over = ratio(kept.find(variant=variant, **key), second)
            if over is not None:
                found.append(ablation_figure.Row(group, variant, *over))
    return found


def tables(kept: Kept, first: int) -> str:
    """Return what is complete: ratios of times to target to plain ASHA and to the second edition."""
    columns = [(space, scheduler) for space in ("mid", "narrow") for scheduler in SCHEDULERS]
    head = "| variant | " + " | ".join(f"{space}, {_NAMES[s]}" for space, s in columns) + " |\n"
    text = head + "|---|" + "---|" * len(columns) + "\n"
    for variant in {**MAIN, **FURTHER}:
        found = [_cell(kept, variant, scheduler, space, first) for space, scheduler in columns]
        if any(found):
            text += f"| {variant} | " + " | ".join(found) + " |\n"
    return text


_NAMES = {"asha": "ASHA", "asha_stopping": "stopping ASHA"}


def _cell(kept: Kept, variant: str, scheduler: str, space: str, first: int) -> str:
    """Return the ratio to plain ASHA, and in brackets that to the second edition under the same scheduler."""
    key = {"space": space, "first_seed": first}
    rows = kept.find(variant=variant, scheduler=scheduler, **key)
    plain = ratio(rows, kept.find(variant="none", scheduler="asha", **key))
    second = ratio(rows, kept.find(variant="second edition", scheduler=scheduler, **key))
    text = f"{plain[0]:.2f}".lstrip("0") if plain else ""
    if second and variant not in ("none", "second edition"):
        low, high = (second[0] * math.exp(sign * second[1]) for sign in (-1, 1))
        text += f" ({second[0]:.2f} [{low:.2f}, {high:.2f}])"
    return text


if __name__ == "__main__":
    raise SystemExit(main())
