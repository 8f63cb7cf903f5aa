"""The supervised task with more hyper-parameters in its loss: spaces of up to ten, and discrete ones.

A hyper-parameter acts where the space names it, and nowhere else. Continuous, each 0 for none:

    focal_gamma          (1 - p)^gamma before the log-likelihood (Lin et al. 2017)
    confidence_penalty   minus the entropy of the prediction (Pereyra et al. 2017)
    z_loss               the squared log-normaliser of the logits (de Brebisson and Vincent 2016)
    logit_penalty        half the mean square of the logits (Kornblith et al. 2021)
    l1                   the sum of the absolute parameters (Tibshirani 1996)

Discrete: `objective`, "cross_entropy" or "brier" (squared error of the probabilities, Brier 1950). Warm
starts move continuous hyper-parameters only; a discrete one stays as it was sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor

from hypernudge.errors import require
from hypernudge.optimizers import Params, setting
from hypernudge.space import SearchSpace
from hypernudge.task import Batch
from hypernudge.tasks.supervised.augment import jitter, translate
from hypernudge.tasks.supervised.supervised import SupervisedTask, nll

PENALTIES = ("focal_gamma", "confidence_penalty", "z_loss", "logit_penalty", "l1")
OBJECTIVES = ("cross_entropy", "brier")
NAMES = (*PENALTIES, "objective")


def is_regularised(space: SearchSpace) -> bool:
    """Whether a space holds a hyper-parameter that only `RegularisedTask` knows."""
    return any(name in space for name in NAMES)


class RegularisedTask(SupervisedTask):
    """`SupervisedTask`, with the hyper-parameters above."""

    reads: ClassVar[tuple[str, ...]] = (*SupervisedTask.reads, *NAMES)

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the loss; that of `SupervisedTask` where the space holds none of the names.

        Raises:
            InvalidArgumentError: For an unknown `objective`.
        """
        augment = translate if self.dataset.kind == "images" else jitter
        z = self.logits(params, augment(batch["x"], batch["noise"], setting(hp, "augmentation")))
        log_p, smoothing = F.log_softmax(z, dim=-1), setting(hp, "label_smoothing")
        loss = (1.0 - smoothing) * self._hit(log_p, batch["y"], hp) - smoothing * log_p.mean()
        if "confidence_penalty" in hp:
            loss = loss + hp["confidence_penalty"] * (log_p.exp() * log_p).sum(-1).mean()
        if "z_loss" in hp:
            loss = loss + hp["z_loss"] * (torch.logsumexp(z, dim=-1) ** 2).mean()
        if "logit_penalty" in hp:
            loss = loss + hp["logit_penalty"] * 0.5 * (z**2).mean()
        if "l1" in hp:
            loss = loss + hp["l1"] * torch.stack([value.abs().sum() for value in params.values()]).sum()
        result: Tensor = loss
        return result

    def _hit(self, log_p: Tensor, y: Tensor, hp: Mapping[str, Any]) -> Tensor:
        """The part of the loss that rewards the label."""
        objective = hp.get("objective", "cross_entropy")
        known = objective in OBJECTIVES
        require(known, "space.objective", f"choices must be among {OBJECTIVES}", objective, "correct it")
        if objective == "brier":
            apart: Tensor = log_p.exp() - F.one_hot(y, log_p.shape[-1])
            return apart.square().sum(-1).mean()
        if "focal_gamma" not in hp:
            return nll(log_p, y)
        own = log_p.gather(-1, y.unsqueeze(-1)).squeeze(-1)
        # Kept away from 0, where a power has no derivative with respect to its exponent.
        missed = (-torch.expm1(own)).clamp_min(1e-6)
        hit: Tensor = -(missed ** hp["focal_gamma"] * own).mean()
        return hit
