"""Trials of a `ModuleTask`: few in memory, the others on disk; what is done is never done again."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hypernudge.optimizers import Params
from hypernudge.space import Value
from hypernudge.task import Split, TrainingState
from hypernudge.tasks.module.checkpoints import Checkpoints, logger
from hypernudge.tasks.module.training import Training

Scores = dict[str, dict[int, float]]  # by split and unit


@dataclass(eq=False)
class ModuleState(TrainingState):
    """A trial; its parameters are in `training` while it is in memory.

    Attributes:
        units: Of the study's longest training.
        unit: Units that the engine has had trained.
        reached: Units that are trained, in memory or on disk; more than `unit` after an interruption.
        hp: Its values, once they are known.
        file: Name of its checkpoint.
        saved: Units in that file, None if there is none.
        diverged: The unit in which it did, where that is known.
        scores: Those that are known.
    """

    units: int = 1
    unit: int = 0
    reached: int = 0
    hp: Mapping[str, Value] | None = None
    file: str = ""
    saved: int | None = None
    diverged: int | None = None
    scores: Scores = field(default_factory=lambda: {"validation": {}, "test": {}})
    training: Training | None = None


class Trials:
    """Moves trials between memory and disk.

    Args:
        checkpoints: The files.
        resident: Trials in memory at a time.
        fresh: Builds a trial at its initialisation.
    """

    def __init__(
        self, checkpoints: Checkpoints, resident: int, fresh: Callable[[ModuleState], Training]
    ) -> None:
        self.checkpoints, self._resident, self._fresh = checkpoints, resident, fresh
        self._present: OrderedDict[int, weakref.ref[ModuleState]] = OrderedDict()
        self._numbered = 0

    def bind(self, state: ModuleState, hp: Mapping[str, Value], file: str) -> None:
        """Give a new trial its configuration, and what an interrupted run has left of it."""
        state.hp, state.file = dict(hp), file
        if not self.checkpoints.durable:
            self._numbered += 1  # nobody else reads it, and two studies may train the same
            state.file = f"{file}-{self._numbered}"
            weakref.finalize(state, self._forget, weakref.ref(self.checkpoints), state.file)
            return
        found = self.checkpoints.load(file)
        if found is not None:
            state.scores = {split: dict(found["scores"][split]) for split in ("validation", "test")}
            state.saved = state.reached = int(found["state"]["unit"])
            state.diverged = found["diverged"]

    @staticmethod
    def _forget(checkpoints: weakref.ref[Checkpoints], file: str) -> None:
        alive = checkpoints()
        if alive is not None and not alive.keep:
            alive.remove(file)

    def advance(self, state: ModuleState) -> bool:
        """Bring a trial to its next unit; return False if it diverged."""
        unit = state.unit + 1
        if unit <= state.reached:
            state.unit = unit
            return unit != state.diverged
        training = self.present(state)
        state.unit = unit
        if not training.advance():
            state.diverged = state.reached = unit
            self._end(state)
            return False
        state.reached = training.unit
        if self.checkpoints.durable:
            self._save(state)
        return True

    def evaluate(self, state: ModuleState, split: Split, score: Callable[[Training], float]) -> float:
        """Return a trial's score on a split, which is computed once."""
        known = state.scores[split]
        if state.unit not in known:
            if state.unit < state.reached:  # nobody had asked when it was interrupted: it is trained again
                state.saved, state.reached = None, 0
            known[state.unit] = score(self.present(state))
        return known[state.unit]

    def weights(self, state: ModuleState) -> Params | None:
        """Return the state dictionary of a trial's last score; None if it would have to be trained."""
        here = state.training is not None and state.training.unit == state.unit
        return self.present(state).scored_weights() if here or state.saved == state.unit else None

    def present(self, state: ModuleState) -> Training:
        """Return a trial in memory, at its unit; others make room."""
        if state.training is None or state.training.unit > state.unit:
            self._make_room(state)
            state.training = self._fresh(state)
            if state.saved is not None and state.saved <= state.unit:
                self._load(state, state.training)
            while state.training.unit < state.unit:
                state.training.advance()
        self._present[id(state)] = weakref.ref(state)
        self._present.move_to_end(id(state))
        return state.training

    def close(self) -> None:
        """End what is still in memory: the study is over."""
        for reference in self._present.values():
            state = reference()
            if state is not None and state.training is not None:
                self._end(state)
        self._present.clear()
        self.checkpoints.remove_all()

    def _load(self, state: ModuleState, training: Training) -> None:
        found = self.checkpoints.load(state.file)
        # Another study may have written it, of the same training, at another unit.
        usable = found is not None and "model" in found["state"] and found["state"]["unit"] <= state.unit
        if found is None or not usable:
            return
        try:
            training.load(found["state"])
        except ValueError as error:
            logger.warning("%s: %s: the trial is trained again", self.checkpoints.path(state.file), error)

    def _make_room(self, coming: ModuleState) -> None:
        for key, reference in list(self._present.items()):
            if reference() is None:
                del self._present[key]
        self._present.pop(id(coming), None)
        while len(self._present) >= self._resident:
            _, reference = self._present.popitem(last=False)
            leaving = reference()
            if leaving is not None and leaving.training is not None:
                self._park(leaving)

    def _park(self, state: ModuleState) -> None:
        if state.unit >= state.units:
            self._end(state)
            return
        if state.saved != state.unit:
            self._save(state)
        state.training = None

    def _end(self, state: ModuleState) -> None:
        """Drop what a finished trial no longer needs: of its file, all but the scores."""
        if self.checkpoints.keep:
            if state.training is not None:
                self._save(state)  # with its last score
        elif self.checkpoints.durable:  # a trial that diverged at once, too: it is not trained again
            content = {"scores": state.scores, "diverged": state.diverged, "state": {"unit": state.unit}}
            self.checkpoints.save(state.file, content)
            state.saved = None
        elif state.saved is not None:
            self.checkpoints.remove(state.file)
        state.training = None

    def _save(self, state: ModuleState) -> None:
        assert state.training is not None
        content = {"scores": state.scores, "diverged": state.diverged, "state": state.training.state()}
        self.checkpoints.save(state.file, content)
        state.saved = state.training.unit
