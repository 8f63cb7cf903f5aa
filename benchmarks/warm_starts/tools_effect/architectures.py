"""Why the warm start gains less where the network is tuned too: which of the drawn ones reach the target.

    python -m benchmarks.warm_starts.tools_effect.architectures --output FOLDER

Six studies on development seeds, the first four starts of each, nothing learned yet. Every network is trained
as the study starts it, as one that was probed itself would be, and that one again at a quarter and at four
times the rate. Numbers are epochs to the target, in brackets the best score of those that miss it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.warm_starts.tools_effect import digits
from hypernudge import SearchSpace
from hypernudge.integrations._adapter import WarmStartAdapter
from hypernudge.integrations._external_history import ExternalHistory
from hypernudge.integrations._optuna.space import declared
from hypernudge.random import integer, stream

FIRST, STUDIES, STARTS = 560_000, 6, 4
TARGET = 0.9403  # that of the benchmark in this space
NETWORK = tuple(digits.ARCHITECTURE)
WAYS = ("as started", "probed itself", "a quarter of that rate", "four times that rate")
Outcome = tuple[float, float]
"""Epochs to the target, infinite where it was missed, and the best score."""


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for draws.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for study in range(STUDIES) for row in started(FIRST + study)]
    text = table(rows)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "draws.md").write_text(text)
    sys.stdout.write(text)
    return 0


def started(seed: int) -> list[tuple[dict[str, Any], list[Outcome]]]:
    """Return the first networks of a study, and what becomes of each in all `WAYS`."""
    of = digits.workload(architecture=True)
    space = declared(of.space)
    drawn = SearchSpace(list(space.parameters.values()))

    def adapter(number: int) -> WarmStartAdapter:
        return WarmStartAdapter(of.measured(), space, of.policy(None), number)

    study, history, rows = adapter(seed), ExternalHistory(), []
    for trial in range(STARTS):
        values = dict(drawn.sample(stream(seed, "network", trial)))
        shared, nudge = study(values, history.history)
        history.started(study.sampled(values), nudge)
        own, _ = adapter(10 * seed + trial)(values, ExternalHistory().history)
        slower = {**own, "lr": own["lr"] / 4}
        faster = {**own, "lr": min(4 * own["lr"], digits.SPACE["lr"].high)}  # type: ignore[attr-defined]
        of_training = integer(seed, "training", trial, bits=31)
        outcomes = [reached(config, of_training) for config in (shared, own, slower, faster)]
        rows.append(({name: values[name] for name in NETWORK}, outcomes))
    return rows


def reached(config: Mapping[str, Any], seed: int) -> Outcome:
    """Train until the target is reached or the training ends."""
    best = -math.inf
    for epoch, score in enumerate(digits.training(config, seed), 1):
        best = max(best, score)
        if score >= TARGET:
            return epoch, best
    return math.inf, best


def table(rows: list[tuple[dict[str, Any], list[Outcome]]]) -> str:
    """Return the rows as Markdown, with how many of them reach the target."""
    count = [sum(math.isfinite(outcomes[way][0]) for _, outcomes in rows) for way in range(len(WAYS))]
    any_way = sum(any(math.isfinite(at) for at, _ in outcomes) for _, outcomes in rows)
    shares = ", ".join(f"{n} {way}" for n, way in zip(count, WAYS, strict=True))
    lines = [
        f"Of {len(rows)} networks {any_way} reach {TARGET} in {digits.EPOCHS} epochs in any way: {shares}.",
        "",
        f"| {' | '.join((*NETWORK, *WAYS))} |",
        "|---" * (len(NETWORK) + len(WAYS)) + "|",
    ]
    for network, outcomes in rows:
        shown = [f"{at:.0f}" if math.isfinite(at) else f"({best:.2f})" for at, best in outcomes]
        lines.append(f"| {' | '.join([*map(str, network.values()), *shown])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
