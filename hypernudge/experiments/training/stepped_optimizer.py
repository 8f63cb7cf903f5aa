"""One way of stepping for every control mode: the bare optimizer, and AEES around it, adaptive or random."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hypernudge.episodes import AEES, DiscountedUCB
from hypernudge.experiments.config import RunConfig


def build_optimizer(parameters: Iterable[nn.Parameter], config: RunConfig) -> Optimizer:
    """Return the optimizer, the same for every control mode."""
    if config.optimizer == "AdamW":
        return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )


class SteppedOptimizer:
    """Steps an optimizer, with or without episodes.

    Decisions are those of the published package. A loss that is not finite does not end the run: the baseline
    goes on too, and a diverged run is a result.

    Args:
        optimizer: What is stepped.
        config: Says which control mode.
    """

    def __init__(self, optimizer: Optimizer, config: RunConfig) -> None:
        self.optimizer = optimizer
        self.config = config
        self.aees: AEES | None = None
        if config.control_mode != "baseline":
            self.aees = AEES(optimizer, **config.episodes, non_finite="ignore")

    def begin(self, step: int) -> None:
        """Begin an optimizer step."""
        if self.aees is not None:
            self.aees.step_start(step)

    def end(self, loss: Tensor) -> None:
        """Update the parameters; gradients are in place."""
        if self.aees is None:
            self.optimizer.step()
        else:
            self.aees.step_end(loss)

    def finalize(self) -> None:
        """Close the open episode."""
        if self.aees is not None:
            self.aees.finalize()

    def state_dict(self) -> dict[str, Any] | None:
        """Return the state of the episodes; None for the baseline."""
        return None if self.aees is None else self.aees.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Continue where the state was taken."""
        if self.aees is not None and state is not None:
            self.aees.load_state_dict(state)

    def logs(self) -> tuple[dict[str, list[Any]] | None, dict[str, Any] | None]:
        """Return the columns of the closed episodes and what the controllers made of them."""
        if self.aees is None:
            return None, None
        episodes = self.aees.get_logs()
        axes = (("lr", self.config.lr_candidates), ("noise", self.config.noise_candidates))
        controllers = {f"{name}_controller_logs": self._axis(name, arms, episodes) for name, arms in axes}
        modes = {
            "structured_control_mode": self.config.structured_control_mode,
            "context_mode": self.config.context_mode,
        }
        return episodes, {**modes, **controllers}

    def _axis(self, name: str, arms: tuple[float, ...], episodes: dict[str, list[Any]]) -> dict[str, Any]:
        """Describe one axis; the history of its estimates follows from arms and rewards."""
        chosen, rewards = episodes[f"selected_{name}_indices"], episodes["episode_rewards"]
        log: dict[str, Any] = {
            "axis_name": name,
            "arm_values": list(arms),
            "controller_created": len(arms) > 1,
            "controller_type": self._kind(len(arms)),
        }
        if len(arms) == 1:
            return {**log, "fixed_arm_value": arms[0]}
        pairs = [(arm, reward) for arm, reward in zip(chosen, rewards, strict=True) if reward is not None]
        earned = [[reward for arm, reward in pairs if arm == index] for index in range(len(arms))]
        log["pulls"] = [chosen.count(index) for index in range(len(arms))]
        log["mean_rewards"] = [sum(part) / len(part) if part else None for part in earned]
        statistics = DiscountedUCB(len(arms))
        values: list[list[float]] = []
        counts: list[list[float]] = []
        for arm, reward in pairs:
            statistics.update(arm, reward)
            state = statistics.state_dict()
            counts.append(list(state["counts"]))
            values.append([s / n if n else 0.0 for s, n in zip(state["sums"], state["counts"], strict=True)])
        return {**log, "value_estimates_history": values, "effective_counts_history": counts}

    def _kind(self, arms: int) -> str:
        if arms == 1:
            return "FixedAxis"
        if self.config.control_mode == "random":
            return "UniformBandit"
        return "DiscountedUCB" if self.config.context_mode == "none" else "BucketedUCB"
