"""What tasks by name share: network, space, optimizer and schedule as described, and who reads what."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from hypernudge.errors import require, unknown_name
from hypernudge.optimizers import rule_from
from hypernudge.registry import check_options, instance, resolve
from hypernudge.tasks.module.schedules import Schedule
from hypernudge.tasks.module.seeded import seeded
from hypernudge.tasks.module.training import OPTIONS
from hypernudge.tasks.module.values import LIMITS, check_values
from hypernudge.tasks.networks import build_network
from hypernudge.tasks.parallel.devices import Devices, check_parallel
from hypernudge.tasks.spaces import build_space

_OF_DATA = ("shape", "classes")


class NamedParts:
    """Parts of a task that are given by name, checked as far as they can be without the data.

    Args:
        model: Name of a network, or a mapping with `name` and the network's own options.
        space: Name of a search space, or a mapping of names to descriptions.
        optimizer: Name of an update rule, or a mapping with `name` and options.
        schedule: The same of the learning rate's schedule.
        fixed: Values that are not tuned.
        limits: Least and largest value of names that the task's loss reads.

    Raises:
        InvalidArgumentError: An unknown name or option, or a value that breaks a rule.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any],
        space: str | Mapping[str, Any],
        optimizer: str | Mapping[str, Any],
        schedule: str | Mapping[str, Any],
        fixed: Mapping[str, Any] | None,
        limits: Mapping[str, tuple[float, float]],
    ) -> None:
        spec = {"name": model} if isinstance(model, str) else model
        described = isinstance(spec, Mapping) and "name" in spec
        rule = "must be a name, or a mapping with a name and options"
        require(described, "model", rule, model, "'resnet20', say")
        check_options("model", spec, _OF_DATA)
        ok = fixed is None or isinstance(fixed, Mapping)
        require(ok, "fixed", "must be a mapping of names to values", fixed, "write {grad_clip: 1.0}")
        self.model, self.fixed = dict(spec), dict(fixed or {})
        self.space, self.optimizer = build_space(space), rule_from(optimizer)
        self.schedule: Schedule = instance("schedule", schedule, has=("factor",))
        check_values(self.space, self.fixed, {**LIMITS, **limits})

    def network(
        self, shape: tuple[int, ...], classes: int, reads: Iterable[str]
    ) -> Callable[[Mapping[str, Any]], nn.Module]:
        """Return what builds the network of a configuration; it has been built once.

        Tuned and fixed values that nothing else reads are options of the network.

        Args:
            shape: Of one sample.
            classes: Number of outputs.
            reads: Names that the task's loss reads.

        Raises:
            InvalidArgumentError: A name that nothing reads, or an option that the network refuses.
        """
        names = self._options(set(reads))
        for name in names:
            twice = name in self.model
            rule = "must be given once, but is tuned or fixed as well"
            require(not twice, f"model.{name}", rule, self.model.get(name), "remove one of the two")

        def build(hp: Mapping[str, Any]) -> nn.Module:
            own = {name: hp[name] for name in names if name in hp}
            return build_network({**self.model, **own}, shape, classes)

        with seeded(0):
            build({**self.fixed, **self.space.middle()})
        return build

    def _options(self, reads: set[str]) -> list[str]:
        """Return which of the tuned and fixed names are options of the network."""
        of_rule = getattr(self.optimizer, "reads", None)  # one that does not say may read anything
        reads |= {*(of_rule or ()), *self.schedule.reads, *OPTIONS}
        parameters = inspect.signature(resolve("model", self.model["name"])).parameters.values()
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        known = {parameter.name for parameter in parameters} - set(_OF_DATA)
        given = dict.fromkeys(self.space.names, "space") | dict.fromkeys(self.fixed, "fixed")
        names = [name for name in given if name not in reads and (open_ended or name in known)]
        for name, where in given.items():
            if of_rule is not None and name not in reads and name not in names:
                rule = "must be read by the loss, the optimizer, the schedule or the network"
                raise unknown_name(f"{where}.{name}", name, reads | known, rule)
        return names


def devices_for(
    count: int, strategy: str, device: torch.device, task: str, given: Mapping[str, Any]
) -> Devices | None:
    """Return several devices for one trial, if more than one is asked for.

    Args:
        count: How many.
        strategy: How they train together.
        device: What they are.
        task: Registered name of the task.
        given: Arguments of its constructor, `self` and all.

    Raises:
        InvalidArgumentError: They are not there, or cannot train together.
    """
    check_parallel(count, strategy, device)
    if count == 1:
        return None
    left_out = ("self", "__class__", "devices", "strategy", "device")
    options = {name: value for name, value in given.items() if name not in left_out}
    return Devices(count, strategy, device, {"name": task, **options, "device": device.type})


def seen(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options of data that decide what is read, not from where."""
    return {name: value for name, value in options.items() if name not in ("folder", "cache")}


def options_for(argument: str, load: Callable[..., Any], given: object) -> tuple[str, dict[str, Any]]:
    """Return name and options of data that are described by their name, or by a mapping with it.

    Args:
        argument: What the user has named.
        load: Takes the name and, as keyword arguments, the options.
        given: The description.

    Raises:
        InvalidArgumentError: For another description, or an unknown option.
    """
    spec = {"name": given} if isinstance(given, str) else given
    rule = "must be a name, or a mapping with a name and options"
    if not (isinstance(spec, Mapping) and isinstance(spec.get("name"), str)):
        require(False, argument, rule, given, "write {name: ...}")
        raise AssertionError
    known = [name for name in inspect.signature(load).parameters if name not in ("name", "cache")]
    for option in spec:
        if option != "name" and option not in known:
            raise unknown_name(f"{argument}.{option}", option, known)
    return spec["name"], {key: value for key, value in spec.items() if key != "name"}
