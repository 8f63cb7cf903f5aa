"""Learning curves of PPO at one setting: seed by seed, written after every unit, and gone on with.

What was trained lies beside the output, in `OUTPUT.work`, until the last seed is done. The same command again
goes on from there, to the bit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypernudge.errors import require
from hypernudge.tasks.games.task import PPOTask

Row = dict[str, Any]
KIND = ("setting", "data", "length")  # what all seeds of a file have in common


def curve(
    given: argparse.Namespace, task: PPOTask, head: dict[str, Any], write: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Train some seeds; return, and write after every unit, score and seconds.

    Args:
        given: The command: first seed, seeds, units, output.
        task: The game.
        head: What the result says of the setting.
        write: Keeps the result.

    Raises:
        InvalidArgumentError: The output holds curves of another setting.
    """
    planned = given.planned or given.units
    require(planned >= given.units, "--planned", f"must reach --units {given.units}", planned, "leave it out")
    length = {"unit_steps": task.unit_steps, "planned": planned}
    rows = _earlier(given.output, {**head, "length": length})
    result = {**head, "length": length, "rows": rows}
    with _kept(task, given.output, planned):
        for seed in range(given.first, given.first + given.seeds):
            known = {row["unit"] for row in rows if row["seed"] == seed}
            state = task.start(seed)
            for unit in range(1, given.units + 1):
                begun = time.perf_counter()
                finite = task.advance(state, task.space.middle())
                if unit not in known:
                    row = {"seed": seed, "unit": unit, "steps": unit * task.unit_steps}
                    rows.append(row | _trained(state, begun) | _scored(task, state, finite))
                    write(result)
                if not finite:
                    break
    return result


def _trained(state: Any, begun: float) -> Row:
    """Return the seconds of training; None where an earlier process had trained the unit."""
    here = state.training is not None or state.diverged is not None
    return {"training_seconds": time.perf_counter() - begun if here else None}


def _scored(task: PPOTask, state: Any, finite: bool) -> Row:
    begun = time.perf_counter()
    greedy = _returns(task, state, True) if finite else []
    seconds = time.perf_counter() - begun
    drawn = _returns(task, state, False) if finite else []
    return {
        "score": statistics.fmean(greedy) if finite else None,
        "deviation": statistics.stdev(greedy) if finite else None,
        "drawn_score": statistics.fmean(drawn) if finite else None,  # actions as in training
        "drawn_deviation": statistics.stdev(drawn) if finite else None,
        "scoring_seconds": seconds,
    }


def _returns(task: PPOTask, state: Any, deterministic: bool) -> list[float]:
    policy = task._trials.present(state).model.policy  # in memory, where an earlier process has trained it
    return [float(value) for value in task._scoring.returns(policy, "validation", deterministic)]


def _earlier(output: Path | None, head: dict[str, Any]) -> list[Row]:
    """Return the rows that the output holds already."""
    if output is None or not output.is_file():
        return []
    found = json.loads(output.read_text("utf-8"))
    other = {key: found.get(key) for key in KIND if found.get(key) != head[key]}
    require(not other, "--output", "must be absent, or hold curves of this setting", other, "name another")
    rows: list[Row] = found["rows"]
    return rows


@contextlib.contextmanager
def _kept(task: PPOTask, output: Path | None, units: int) -> Iterator[None]:
    """Keep trials beside the output while entered; they are removed once all are done."""
    with contextlib.ExitStack() as stack:
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(task.kept_in(output.with_suffix(".work")))
        stack.enter_context(task.study(units))
        yield
