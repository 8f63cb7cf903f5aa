"""Former names of arguments and attributes: accepted in calls, YAML and imports, never beside the present."""

from __future__ import annotations

import dataclasses
import sys
import types
import warnings

import pytest

from hypernudge import registry, renamed
from hypernudge.errors import InvalidArgumentError
from hypernudge.task import BatchedTask, GradientTask


@renamed.accepts(max_units="horizon", objective="form")
@dataclasses.dataclass(frozen=True)
class Probe:
    max_units: int
    objective: str = "loss"


@dataclasses.dataclass(frozen=True)
class Deeper(Probe):
    depth: int = 1


@renamed.accepts(callback="observe")
def search(budget: int, *, callback: str = "none") -> tuple[int, str]:
    return budget, callback


def test_calls_take_former_and_present_names_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Probe(horizon=9, form="score") == Probe(max_units=9, objective="score") == Probe(9, "score")  # type: ignore[call-arg]
        assert search(3, observe="me") == search(3, callback="me") == (3, "me")  # type: ignore[call-arg]


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="'horizon' is its former name"):
        Probe(max_units=1, horizon=2)  # type: ignore[call-arg]
    with pytest.raises(InvalidArgumentError, match="remove 'observe'"):
        search(1, callback="a", observe="b")  # type: ignore[call-arg]


def test_a_subclass_that_makes_its_own_arguments_claims_no_former_names() -> None:
    assert renamed.present_names(Probe) == {"horizon": "max_units", "form": "objective"}
    assert renamed.present_names(Deeper) == {}
    with pytest.raises(TypeError):
        Deeper(horizon=9)  # type: ignore[call-arg]


def test_yaml_takes_either_name_and_refuses_both() -> None:
    named = {"name": f"{__name__}:Probe"}
    assert registry.build("warm_start", {**named, "horizon": 9}) == Probe(9)
    assert registry.build("warm_start", {**named, "max_units": 9}) == Probe(9)
    with pytest.raises(InvalidArgumentError, match=r"warm_start.horizon: must be given once"):
        registry.build("warm_start", {**named, "horizon": 9, "max_units": 9})
    with pytest.raises(InvalidArgumentError, match=r"takes the options \['max_units', 'objective'\]"):
        registry.build("warm_start", {**named, "horizons": 9})


def test_imports_find_attributes_by_their_former_names(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("moved_names")
    module.Probe = Probe  # type: ignore[attr-defined]
    module.__getattr__ = renamed.attributes("moved_names", Probe="Gauge")  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "moved_names", module)
    from moved_names import Gauge  # type: ignore[import-not-found]

    assert Gauge is Probe
    with pytest.raises(AttributeError, match="'moved_names' has no attribute 'Gage'"):
        module.Gage  # noqa: B018


class OwnTask(GradientTask):
    """Written when the batched form of a task was called its route."""

    init = batch = loss = score = None

    def route(self, device, shared):
        return "by hand"


def test_a_subclass_may_define_a_method_by_its_former_name() -> None:
    assert OwnTask().batched(None, {}) == "by hand"

    class Both(OwnTask):
        def route(self, device: object, shared: object) -> str:
            return "old"

        def batched(self, device: object, shared: object) -> str:
            return "new"

    assert Both().batched(None, {}) == "new"
    from hypernudge.task import Route  # type: ignore[attr-defined]

    assert Route is BatchedTask
