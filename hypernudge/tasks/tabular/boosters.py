"""Trials of boosted trees: live boosters, and what of them lies on disk.

A trial that was paused or killed must go on as if nothing had happened, to the bit. XGBoost draws rows from a
generator that all boosters of a thread share; it is seeded anew before each round, from the trial's seed and
the number of the round, so that what other trials do in between does not matter. Columns are drawn from a
generator inside the live booster, which no file holds (XGBoost 3.2: a booster that was loaded draws other
columns, and other rows). So with sampling a trial that is no longer in memory is trained again from its first
round, at no charge; without, it goes on from its file.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hypernudge.errors import package
from hypernudge.random import integer
from hypernudge.space import Value
from hypernudge.tasks.module.checkpoints import Checkpoints, digest
from hypernudge.tasks.tabular.parameters import SAMPLING

GROWTH = 1.5  # a trial is written when so many times as long as in its file: a third is lost at most


def xgboost() -> Any:
    """Import XGBoost.

    Raises:
        MissingExtraError: It is not installed.
    """
    return package("xgboost", "tabular", "the task 'xgboost'")


@dataclass(eq=False)
class BoosterState:
    """A trial.

    Attributes:
        seed: Of everything random in it.
        unit: Units that the engine has had trained.
        parameters: XGBoost's parameters, once the configuration is known.
        booster: While it is in memory; it may hold more rounds than `unit` after an interruption.
        file: Name of its file.
        saved: Units in that file, 0 if there is none.
    """

    seed: int
    unit: int = 0
    parameters: dict[str, Any] | None = None
    booster: Any = None
    file: str = ""
    saved: int = 0

    @property
    def samples(self) -> bool:
        """Whether rows or columns are drawn at random."""
        assert self.parameters is not None
        return any(float(self.parameters.get(name, 1.0)) < 1.0 for name in SAMPLING)


class Boosters:
    """Trains trials, and brings back those that left memory.

    Args:
        train: The training part, binned.
        described: What determines a training besides seed and configuration, for the names of files.
        parameters: XGBoost's parameters of a configuration.
        rounds: Boosting rounds of a unit.
        checkpoints: Files of trials.
        resident: Live boosters at a time; None for all of a study.
    """

    def __init__(
        self,
        train: Any,
        described: Mapping[str, Any],
        parameters: Callable[[Mapping[str, Value]], dict[str, Any]],
        rounds: int,
        checkpoints: Checkpoints,
        resident: int | None = None,
    ) -> None:
        self._train, self._described, self._parameters = train, dict(described), parameters
        self._rounds, self.checkpoints, self._resident = rounds, checkpoints, resident
        self._present: OrderedDict[int, weakref.ref[BoosterState]] = OrderedDict()

    def advance(self, state: BoosterState, hp: Mapping[str, Value]) -> None:
        """Bring a trial to its next unit."""
        if state.parameters is None:
            self._bind(state, hp)
        state.unit += 1
        if state.booster is None and state.unit <= state.saved:  # lies on disk; read when it is needed
            return
        self.present(state)
        if self.checkpoints.durable and not state.samples and state.unit >= GROWTH * state.saved:
            self._save(state)

    def present(self, state: BoosterState) -> Any:
        """Return a trial's booster with the rounds of its unit, or more; others make room."""
        if state.booster is None:
            self._make_room(state)
            state.booster = self._loaded(state) or self._fresh(state)
        self._present[id(state)] = weakref.ref(state)
        self._present.move_to_end(id(state))
        for index in range(state.booster.num_boosted_rounds(), state.unit * self._rounds):
            state.booster.set_param({"seed": integer(state.seed, "round", index, bits=31)})
            state.booster.update(self._train, index)
        return state.booster

    def predict(self, state: BoosterState, data: Any) -> Any:
        """Return the predictions after the trial's unit, `(n,)` or `(n, classes)`."""
        return self.present(state).predict(data, iteration_range=(0, state.unit * self._rounds))

    def weights(self, state: BoosterState) -> dict[str, Tensor] | None:
        """Return a trial's trees in XGBoost's binary format, as bytes; None if they are gone."""
        if state.booster is None and (state.saved < state.unit or state.unit == 0):
            return None
        return {"booster": _bytes_of(self.present(state), state.unit * self._rounds)}

    def close(self) -> None:
        """Drop what is in memory, and remove files: the study is over."""
        for reference in self._present.values():
            state = reference()
            if state is not None:
                state.booster, state.saved = None, 0
        self._present.clear()
        self.checkpoints.remove_all()

    def _bind(self, state: BoosterState, hp: Mapping[str, Value]) -> None:
        state.parameters = self._parameters(hp)
        if not self.checkpoints.durable:
            return
        state.file = digest({**self._described, "seed": state.seed, "parameters": state.parameters})
        found = None if state.samples else self.checkpoints.load(state.file)
        state.saved = int(found["unit"]) if found is not None else 0

    def _fresh(self, state: BoosterState) -> Any:
        return xgboost().Booster(state.parameters, [self._train])

    def _loaded(self, state: BoosterState) -> Any:
        """Return the booster of a trial's file, None if there is none."""
        found = self.checkpoints.load(state.file) if state.saved else None
        if found is None:
            state.saved = 0
            return None
        booster = xgboost().Booster(state.parameters)
        booster.load_model(bytearray(found["booster"].numpy().tobytes()))
        booster.set_param(state.parameters)
        return booster

    def _save(self, state: BoosterState) -> None:
        unit = state.booster.num_boosted_rounds() // self._rounds
        content = {"unit": unit, "booster": _bytes_of(state.booster, unit * self._rounds)}
        self.checkpoints.save(state.file, content)
        state.saved = unit

    def _make_room(self, coming: BoosterState) -> None:
        for key, reference in list(self._present.items()):
            if reference() is None:
                del self._present[key]
        self._present.pop(id(coming), None)
        while self._resident is not None and len(self._present) >= self._resident:
            _, reference = self._present.popitem(last=False)
            leaving = reference()
            if leaving is not None:
                if not leaving.samples and self.checkpoints.durable and leaving.saved < leaving.unit:
                    self._save(leaving)
                leaving.booster = None


def _bytes_of(booster: Any, rounds: int) -> Tensor:
    """Return the first `rounds` rounds of a booster in XGBoost's binary format, `(bytes,)` of uint8."""
    cut = booster if booster.num_boosted_rounds() == rounds else booster[:rounds]
    return torch.frombuffer(cut.save_raw("ubj"), dtype=torch.uint8).clone()
