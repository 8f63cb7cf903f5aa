"""Learning curves of PPO at one setting, and its steps per second beside those of stable-baselines3 itself.

    python -m benchmarks.games curve cartpole [--first 0] [--seeds 3] [--units 20] [--planned 100]
                                              [--device auto]
    python -m benchmarks.games gradients cartpole [--seeds 3]
    python -m benchmarks.games throughput cartpole [--steps 1024] [--rounds 5] [--output FILE]

A curve is written after every unit; one that is stopped goes on with the same command. The setting is the
middle of the game's space: what is published for Atari, and one for classic control. Seconds of training and
of scoring are wall time of one thread; the published results count neither.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.games.curve import curve
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.provenance import provenance
from hypernudge.harness.planning.config import load_yaml
from hypernudge.results.files import write_text
from hypernudge.tasks.games.task import PPOTask
from hypernudge.warmstart.measurement.measure import HyperGradientSpec, hyper_gradients

CONFIG = Path(__file__).parents[2] / "config" / "task"


def task_of(game: str, **options: Any) -> PPOTask:
    """Return the task of a game's configuration file."""
    found = load_yaml(CONFIG / f"{game}.yaml")
    training = {**found.pop("training"), **options}
    left_out = ("name", "target")
    return PPOTask(**{k: v for k, v in found.items() if k not in left_out}, **training)


def curves(given: argparse.Namespace) -> dict[str, Any]:
    """Train some seeds; return, and write after every unit, scores and seconds."""
    steps = {"unit_steps": given.steps} if given.steps else {}
    task = task_of(given.game, units=given.planned or given.units, device=given.device, **steps)
    return curve(given, task, _head(given, task), lambda result: _write(given, result))


def throughput(given: argparse.Namespace) -> dict[str, Any]:
    """Train unit by unit in turn, the task and stable-baselines3; return rates, and the median ratio.

    What else a machine does slows both of a pair; the time is the processor's.
    """
    from stable_baselines3 import PPO

    from hypernudge.tasks.games.network import policy_class

    steps = {"unit_steps": given.steps} if given.steps else {}
    task = task_of(given.game, device=given.device, units=given.rounds + 1, **steps)
    hp = task.space.middle()
    state = task.start(0)
    plan = task._plan
    games = plan.environments.training(plan.count)
    read = {name: hp[name] for name in ("ent_coef", "vf_coef", "clip_range", "gamma", "gae_lambda")}
    model = PPO(
        policy_class(games.observation_space),
        games,
        learning_rate=float(hp["lr"]),
        n_steps=plan.length,
        batch_size=task.batch_size,
        n_epochs=int(hp["epochs"]),
        max_grad_norm=float(hp["max_grad_norm"]),
        device=task.device,
        **read,
    )
    seconds: dict[str, list[float]] = {"task": [], "stable_baselines3": []}
    for index in range(given.rounds + 1):
        for name, train in (
            ("task", lambda: task.advance(state, hp)),
            ("stable_baselines3", lambda: model.learn(task.unit_steps, reset_num_timesteps=False)),
        ):
            begun = time.process_time()
            train()
            if index:  # the first of each is not counted
                seconds[name].append(time.process_time() - begun)
    rates = {name: task.unit_steps / statistics.median(times) for name, times in seconds.items()}
    pairs = zip(seconds["stable_baselines3"], seconds["task"], strict=True)
    ratio = statistics.median(other / own for other, own in pairs)
    result = _head(given, task) | {"steps_per_processor_second": rates, "ratio": ratio, "seconds": seconds}
    _write(given, result)
    return result


def gradients(given: argparse.Namespace) -> dict[str, Any]:
    """Return what literal OHGW measures before some trials, and what share of a unit that costs."""
    task = task_of(given.game, device=given.device)
    hp, spec = task.space.middle(), HyperGradientSpec("lookahead", 128)
    found = hyper_gradients(task, [hp] * given.seeds, list(range(given.seeds)), spec)
    rows = [{"gradient": m.gradient, "share": m.flops / task.unit_flops(hp)} for m in found]
    result = _head(given, task) | {"rows": rows}
    _write(given, result)
    return result


def _head(given: argparse.Namespace, task: PPOTask) -> dict[str, Any]:
    said = {k: str(v) if isinstance(v, Path) else v for k, v in vars(given).items()}
    setting = {k: v if isinstance(v, int | float | str) else repr(v) for k, v in task.space.middle().items()}
    return {"command": said, "setting": setting, "data": task.data_source, "provenance": provenance()}


def _write(given: argparse.Namespace, result: dict[str, Any]) -> None:
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        write_text(given.output, json.dumps(result, indent=1) + "\n")


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("curve", "throughput", "gradients"))
    parser.add_argument("game")
    parser.add_argument("--first", type=int, default=0, help="seed of the first curve")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--units", type=int, default=10)
    parser.add_argument("--steps", type=int, help="of a unit, where not those of the file")
    parser.add_argument("--planned", type=int, help="units that the schedule is for, where more than --units")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        result = {"curve": curves, "throughput": throughput, "gradients": gradients}[given.what](given)
    except InvalidArgumentError as error:
        parser.error(str(error))
    json.dump(result, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
