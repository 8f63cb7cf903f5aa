"""Power of rewards: how many episodes it takes to tell two arms apart where the rate is right.

Networks are trained at the right rate with arms drawn at random for every episode, so that an arm's effect
on a reward is a difference of means. Four rewards are compared on the same episodes:

    loss        the published one: log improvement of the smoothed loss
    detrended   the same minus its mean over all members at that time: the best that any detrending could do
    paired      the same minus the mean of the episodes before and after (paired windows)
    alignment   the mean cosine of the episode's updates with the descent directions that follow them

With an effect of `d` standard deviations, `2 (1.960 + 0.842)^2 / d^2` episodes of each of two arms are needed
to find it in four of five trainings (two-sided level .05).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.episodes_effect import blocks
from benchmarks.episodes_effect.methods import METHODS, Crew, update_of
from benchmarks.episodes_effect.rules import EPISODE, RATES, Floats, Signals, Wanted
from benchmarks.episodes_effect.tasks import TASKS
from benchmarks.episodes_effect.training import train
from hypernudge.episodes import EmaLogReward
from hypernudge.harness.cells.provenance import provenance
from hypernudge.random import integer
from hypernudge.results.files import write_text
from hypernudge.results.jsonio import write_json

REWARDS = ("loss", "detrended", "paired", "alignment")
NEEDED = 2 * (1.959964 + 0.841621) ** 2  # times 1 / d^2: episodes of each arm
SEEDS = range(500, 540)


class RecordedArms:
    """Arms at random, one per episode and member, and everything that was seen of them.

    Attributes:
        arms: Of every closed episode, shape `(members,)` each, as positions in `RATES`.
    """

    wants: Wanted = "cosines"

    def __init__(self, seeds: Sequence[int]) -> None:
        self._rngs = [random.Random(integer(seed, "recorded arms")) for seed in seeds]
        self.arms: list[NDArray[np.int64]] = []
        self._losses: list[Floats] = []
        self._cosines: list[Floats] = []
        self._multipliers = np.ones(len(self._rngs))

    def before(self, step: int) -> Floats:
        """Draw arms where an episode begins; return the multipliers."""
        if step % EPISODE == 0:
            self.arms.append(np.array([rng.randrange(len(RATES)) for rng in self._rngs]))
            self._multipliers = np.array(RATES)[self.arms[-1]]
        return self._multipliers

    def after(self, losses: Floats, signals: Signals) -> None:
        """Note losses and cosines."""
        assert signals.cosines is not None  # asked for
        self._losses.append(losses)
        self._cosines.append(signals.cosines)

    def rewards(self) -> tuple[NDArray[np.int64], dict[str, Floats]]:
        """Return arms and rewards of the episodes that have neighbours, each `(episodes, members)`."""
        episodes = len(self._losses) // EPISODE
        judge = EmaLogReward()
        rows = np.stack(self._losses)[: episodes * EPISODE].reshape(episodes, EPISODE, -1)
        loss = np.array([[judge(list(column)).unclipped for column in block.T] for block in rows])
        # The cosine seen at a step judges the update before it.
        cosines = np.stack(self._cosines)[1:]
        own = [cosines[k * EPISODE : (k + 1) * EPISODE] for k in range(episodes - 1)]
        alignment = np.array([np.nanmean(np.where(np.isfinite(c), c, np.nan), axis=0) for c in own])
        inner = slice(1, episodes - 1)
        return np.stack(self.arms)[inner], {
            "loss": loss[inner],
            "detrended": loss[inner] - loss[inner].mean(1, keepdims=True),
            "paired": loss[inner] - 0.5 * (loss[:-2] + loss[2:]),
            "alignment": alignment[1:],
        }


def effect(arms: NDArray[np.int64], values: Floats, arm: int, other: int) -> dict[str, float]:
    """Return the difference `arm` makes to a reward, in standard deviations, and what it takes to see."""
    groups = [values[(arms == which) & np.isfinite(values)] for which in (arm, other)]
    spread = float(np.sqrt(0.5 * (groups[0].var(ddof=1) + groups[1].var(ddof=1))))
    d = float(groups[0].mean() - groups[1].mean()) / spread
    error = float(np.sqrt(1 / len(groups[0]) + 1 / len(groups[1])))  # of d, about
    return {"d": round(d, 4), "error": round(error, 4), "episodes": round(NEEDED / d**2, 1)}


def cell(folder: Path, task_name: str, optimizer: str, noise: float, seeds: Sequence[int]) -> dict[str, Any]:
    """Measure one cell of the study at its right rate."""
    task = TASKS[task_name]
    right = blocks.right_rate(folder, blocks.Block("tune", task_name, optimizer, noise, "plain"), "plain")

    def run(rule: Any, rates: tuple[float, ...]) -> Floats:
        outcome = train(
            task,
            task.data(0),
            seeds=seeds,
            rates=rates,
            noise=noise,
            update=update_of("plain", Crew(optimizer, tuple(seeds), rates, task.steps)),
            rule=rule,
        )
        return outcome.test.reshape(len(rates), len(seeds))

    recorded = RecordedArms(seeds)
    run(recorded, (right,))
    arms, rewards = recorded.rewards()
    rates = tuple(right * rate for rate in RATES)
    final = run(METHODS["plain"].rule(Crew(optimizer, tuple(seeds), rates, task.steps)), rates)
    base = RATES.index(1.0)
    return {
        "task": task_name,
        "optimizer": optimizer,
        "noise": noise,
        "episodes_in_a_training": task.steps // EPISODE,
        "accuracy_of_the_arm_alone": {
            f"x{rate:g}": round(float((final[k] - final[base]).mean()), 2)
            for k, rate in enumerate(RATES)
            if k != base
        },
        "effects": {
            name: {
                f"x{rate:g}": effect(arms, rewards[name], k, base)
                for k, rate in enumerate(RATES)
                if k != base
            }
            for name in REWARDS
        },
    }


def publish(folder: Path, destination: Path, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Measure every cell that was tuned; write `rewards.json` and `rewards.md`; return the summary."""
    cells = [
        cell(folder, task, optimizer, noise, tuple(seeds))
        for task, noise, optimizer in itertools.product(TASKS, blocks.NOISES, blocks.OPTIMIZERS)
    ]
    summary = {name: summarise(cells, name) for name in REWARDS}
    found = {"seeds": [seeds[0], seeds[-1]], "summary": summary, "cells": cells, "where": provenance()}
    write_json(destination / "rewards.json", found)
    write_text(destination / "rewards.md", _table(cells))
    return summary


def summarise(cells: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return over all cells and both arms what a reward needs, and how often it prefers the better arm.

    An arm counts where it alone changes the final accuracy by half a point or more.
    """
    needed, enough, right, counted = [], 0, 0, 0
    for found in cells:
        for arm, one in found["effects"][name].items():
            needed.append(one["episodes"])
            enough += 2 * one["episodes"] <= found["episodes_in_a_training"]
            truth = found["accuracy_of_the_arm_alone"][arm]
            if abs(truth) >= 0.5:
                counted += 1
                right += (one["d"] > 0) == (truth > 0)
    return {
        "median_episodes_of_each_arm": round(float(np.median(needed)), 1),
        "comparisons": len(needed),
        "decided_within_one_training": enough,
        "prefers_the_better_arm": [right, counted],
    }


def _table(cells: list[dict[str, Any]]) -> str:
    lines = [
        "# Episodes of each arm needed to tell it from the right rate (power .8, two-sided .05)",
        "",
        "In brackets the effect in standard deviations of the reward of an episode. Accuracy: of a whole",
        "training at that multiple of the right rate, against the right rate, in points.",
        "",
        "| cell | arm | accuracy | " + " | ".join(REWARDS) + " |",
        "|---" * (3 + len(REWARDS)) + "|",
    ]
    for found in cells:
        labels = f"{100 * found['noise']:.0f} % wrong labels" if found["noise"] else "clean"
        for arm, truth in found["accuracy_of_the_arm_alone"].items():
            entries = [found["effects"][name][arm] for name in REWARDS]
            numbers = [f"{one['episodes']:.3g} ({one['d']:+.2f})" for one in entries]
            lines.append(
                f"| {found['task']}, {found['optimizer']}, {labels} | {arm} | {truth:+.1f} | "
                + " | ".join(numbers)
                + " |"
            )
    return "\n".join(lines) + "\n"
