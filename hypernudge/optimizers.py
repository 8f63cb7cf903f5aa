"""Update rules as pure functions, so that a hyper-gradient can flow through a step of training.

Each rule exists twice: `update` is pure and differentiable in parameters, gradients and hyper-parameters;
`update_` does the same in place, as fast as PyTorch's own optimizers, and is what trials are trained with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from hypernudge.errors import require, require_between, require_choice, require_flag, require_share
from hypernudge.registry import instance

Params = dict[str, Tensor]
BELOW_1 = math.nextafter(1.0, 0.0)
LIMITS = {
    "lr": (0.0, 1e6),
    "momentum": (0.0, BELOW_1),
    "beta1": (0.0, BELOW_1),
    "beta2": (0.0, BELOW_1),
    "weight_decay": (0.0, 1e6),
}
"""Values with which an update rule makes sense at all, by name."""


DECAYED = ("all", "matrices")


def decays(rule: object, dimensions: int) -> bool:
    """Whether weight decay acts, under an update rule, on a parameter of so many dimensions."""
    return getattr(rule, "decay", "all") == "all" or dimensions >= 2


def setting(hp: Mapping[str, Any], name: str, default: Any = 0.0) -> Any:
    """Return a hyper-parameter that a configuration may lack, or choose to leave at its default by None."""
    value = hp.get(name)
    return default if value is None else value


class Optimizer(Protocol):
    """An update rule that reads its hyper-parameters from the trial's configuration.

    `effective_rate` and `direction` describe it to warm starts: from a standing start, and apart from decay,
    a step along the constant gradient `g` moves the parameters by `-effective_rate * direction(g)` in the
    long run.
    """

    def init(self, params: Params) -> Params:
        """Return the state before the first step of tensors `params`."""
        ...

    def update(
        self, params: Params, grads: Params, state: Params, hp: Mapping[str, Any]
    ) -> tuple[Params, Params]:
        """Return new parameters and state; pure and differentiable.

        Args:
            params: Tensors by name, of any shape.
            grads: Their gradients, of the same names and shapes.
            state: What `init` or the last step returned.
            hp: `lr` and what else it reads; floats or scalar tensors.
        """
        ...

    def update_(self, params: Params, grads: Params, state: Params, hp: Mapping[str, float]) -> None:
        """Do the same in place, without a graph: `params` and `state` are changed by `grads`."""
        ...

    def effective_rate(self, hp: Mapping[str, Any]) -> Any:
        """Return the effective learning rate of a configuration; floats or tensors."""
        ...

    def direction(self, grads: Params) -> Params:
        """Return the direction of the first step for gradients `grads`."""
        ...


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with heavy-ball momentum and weight decay, as in `torch.optim.SGD`.

    `v <- momentum * v + (g + weight_decay * w); w <- w - lr * v`. With `decoupled=True` the decay leaves the
    momentum buffer alone: `w <- w - lr * v - lr * weight_decay * w` (Loshchilov and Hutter 2019, SGDW).

    Reads `lr`, and `momentum` and `weight_decay` where the configuration has them (0 otherwise).

    Args:
        decoupled: Whether the decay leaves the momentum buffer alone.
        decay: `"all"`, or `"matrices"`: parameters of two or more dimensions, neither biases nor scales.

    Raises:
        InvalidArgumentError: For other values.
    """

    decoupled: bool = False
    decay: str = "all"
    reads: ClassVar[tuple[str, ...]] = ("lr", "momentum", "weight_decay")

    def __post_init__(self) -> None:
        require_flag("optimizer.decoupled", self.decoupled)
        require_choice("optimizer.decay", self.decay, DECAYED)

    def init(self, params: Params) -> Params:
        """Return zero momentum buffers."""
        return {name: torch.zeros_like(value) for name, value in params.items()}

    def update(
        self, params: Params, grads: Params, state: Params, hp: Mapping[str, Any]
    ) -> tuple[Params, Params]:
        """Return new parameters and momentum buffers; pure and differentiable."""
        lr, momentum, given = hp["lr"], setting(hp, "momentum"), setting(hp, "weight_decay")
        new_params, new_state = {}, {}
        for name, w in params.items():
            decay = given if decays(self, w.dim()) else 0.0
            g = grads[name] if self.decoupled else grads[name] + decay * w
            v = momentum * state[name] + g
            new_state[name] = v
            new_params[name] = w - lr * v - (lr * decay * w if self.decoupled else 0.0)
        return new_params, new_state

    @torch.no_grad()
    def update_(self, params: Params, grads: Params, state: Params, hp: Mapping[str, float]) -> None:
        """Do the same in place with fused multi-tensor operations."""
        lr, momentum, decay = hp["lr"], setting(hp, "momentum"), setting(hp, "weight_decay")
        w, g = list(params.values()), list(grads.values())
        v = [state[name] for name in params]
        torch._foreach_mul_(v, momentum)
        torch._foreach_add_(v, g)
        shrinking = [i for i, value in enumerate(w) if decays(self, value.dim())]
        if self.decoupled and shrinking:
            torch._foreach_mul_([w[i] for i in shrinking], 1.0 - lr * decay)
        elif shrinking:
            torch._foreach_add_([v[i] for i in shrinking], [w[i] for i in shrinking], alpha=decay)
        torch._foreach_add_(w, v, alpha=-lr)

    def effective_rate(self, hp: Mapping[str, Any]) -> Any:
        """`lr / (1 - momentum)`: what the steps that follow one gradient add up to."""
        return hp["lr"] / (1.0 - setting(hp, "momentum"))

    def direction(self, grads: Params) -> Params:
        """The gradients themselves."""
        return grads


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as in `torch.optim.AdamW`.

    Reads `lr`, `weight_decay` (0 if absent), `beta2` and, as the decay rate of the first moment, `beta1` or
    else `momentum`, so that one space serves this rule and SGD.

    Args:
        beta1: Decay rate of the first moment where the configuration holds neither name.
        beta2: Decay rate of the second moment where the configuration does not hold it.
        eps: Added to the root of the second moment.
        decay: `"all"`, or `"matrices"`: parameters of two or more dimensions, neither biases nor scales.

    Raises:
        InvalidArgumentError: If a decay rate is not in [0, 1), or `eps` is not positive.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    decay: str = "all"
    reads: ClassVar[tuple[str, ...]] = ("lr", "weight_decay", "beta1", "momentum", "beta2")

    def __post_init__(self) -> None:
        for name, value in (("beta1", self.beta1), ("beta2", self.beta2)):
            require_share(f"optimizer.{name}", value, "0.9 and 0.999 are usual")
        require_between("optimizer.eps", self.eps, 0, 1, remedy="it must be positive: 1e-8 is usual")
        require_choice("optimizer.decay", self.decay, DECAYED)

    def init(self, params: Params) -> Params:
        """Return both moments, zero, and the number of steps; `exp_avg/NAME`, `exp_avg_sq/NAME`, `step`."""
        like = next(iter(params.values()))
        moments = {
            f"{kind}/{name}": torch.zeros_like(value)
            for kind in ("exp_avg", "exp_avg_sq")
            for name, value in params.items()
        }
        return {**moments, "step": like.new_zeros(())}

    def update(
        self, params: Params, grads: Params, state: Params, hp: Mapping[str, Any]
    ) -> tuple[Params, Params]:
        """Return new parameters and moments; pure and differentiable."""
        lr, given = hp["lr"], setting(hp, "weight_decay")
        beta1, beta2 = self._beta1(hp), setting(hp, "beta2", self.beta2)
        step = state["step"] + 1.0
        correction1, correction2 = 1.0 - beta1**step, 1.0 - beta2**step
        new_params, new_state = {}, {"step": step}
        for name, w in params.items():
            m = beta1 * state[f"exp_avg/{name}"] + (1.0 - beta1) * grads[name]
            v = beta2 * state[f"exp_avg_sq/{name}"] + (1.0 - beta2) * grads[name] ** 2
            new_state[f"exp_avg/{name}"], new_state[f"exp_avg_sq/{name}"] = m, v
            decay = given if decays(self, w.dim()) else 0.0
            scaled = (m / correction1) / (_root(v / correction2) + self.eps)
            new_params[name] = w - lr * decay * w - lr * scaled
        return new_params, new_state

    @torch.no_grad()
    def update_(self, params: Params, grads: Params, state: Params, hp: Mapping[str, float]) -> None:
        """Do the same in place with fused multi-tensor operations."""
        lr, decay = hp["lr"], setting(hp, "weight_decay")
        beta1, beta2 = self._beta1(hp), setting(hp, "beta2", self.beta2)
        w, g = list(params.values()), list(grads.values())
        m = [state[f"exp_avg/{name}"] for name in params]
        v = [state[f"exp_avg_sq/{name}"] for name in params]
        state["step"] += 1.0
        step = float(state["step"])
        torch._foreach_lerp_(m, g, 1.0 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, g, g, value=1.0 - beta2)
        shrinking = [value for value in w if decays(self, value.dim())]
        if shrinking:
            torch._foreach_mul_(shrinking, 1.0 - lr * decay)
        root = torch._foreach_sqrt(v)
        torch._foreach_div_(root, (1.0 - beta2**step) ** 0.5)
        torch._foreach_add_(root, self.eps)
        torch._foreach_addcdiv_(w, m, root, value=-lr / (1.0 - beta1**step))

    def effective_rate(self, hp: Mapping[str, Any]) -> Any:
        """`lr`: the first moment is an average, so momentum delays steps and does not add to them."""
        return hp["lr"]

    def direction(self, grads: Params) -> Params:
        """`g / (|g| + eps)`, nearly the sign: what the corrected moments of one gradient come to."""
        return {name: g / (g.abs() + self.eps) for name, g in grads.items()}

    def _beta1(self, hp: Mapping[str, Any]) -> Any:
        return setting(hp, "beta1", setting(hp, "momentum", self.beta1))


RULE = ("init", "update", "update_", "effective_rate", "direction")
_OF_TORCH = {torch.optim.SGD: "sgd", torch.optim.AdamW: "adamw"}


def rule_from(value: Any, where: str = "optimizer") -> Optimizer:
    """Return the update rule that an argument means: itself, its name, or PyTorch's class of the same rule.

    Args:
        value: A rule, `"sgd"` or `"adamw"`, a mapping of a name and options, `torch.optim.SGD` or `.AdamW`.
        where: The argument's name.

    Raises:
        InvalidArgumentError: For anything else, such as another optimizer of PyTorch, or one with parameters.
    """
    if isinstance(value, type) and value in _OF_TORCH:
        value = _OF_TORCH[value]
    if not isinstance(value, str | Mapping):
        check_rule(value, where, "'sgd', 'adamw', torch.optim.SGD or torch.optim.AdamW" + _hint(value))
    found: Optimizer = instance("optimizer", value)
    return found


def _hint(value: object) -> str:
    """What to add to the remedy for an optimizer of PyTorch."""
    if value is torch.optim.Adam or type(value) is torch.optim.Adam:
        return ": AdamW makes the steps of Adam where there is no weight decay"
    return ": the class, without parameters" if isinstance(value, torch.optim.Optimizer) else ""


def check_rule(value: object, where: str, remedy: str = "SGD() or AdamW() of hypernudge") -> None:
    """Refuse what is no update rule.

    Args:
        value: The argument.
        where: Its name.
        remedy: What to write where it is no class of ours.

    Raises:
        InvalidArgumentError: With the remedy; PyTorch's optimizers step modules, a rule is a pure function.
    """
    ours = isinstance(value, type) and value.__module__ == __name__
    if ours:
        remedy = f"write {value.__name__}()"  # type: ignore[attr-defined]
    ok = not isinstance(value, type) and all(hasattr(value, name) for name in RULE)
    require(ok, where, "must be an update rule of hypernudge.optimizers", value, remedy)


def _root(value: Tensor) -> Tensor:
    """Square root whose derivative at zero is zero, for weights that never had a gradient."""
    positive = value > 0
    return torch.where(positive, torch.where(positive, value, 1.0).sqrt(), 0.0)
