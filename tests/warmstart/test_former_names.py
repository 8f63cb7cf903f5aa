"""Names that warm starts had before are accepted where users wrote them, and change no plan."""

import importlib
import warnings

import pytest

import hypernudge
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.registry import ALIASES, REGISTRY, build, registered, resolve
from hypernudge.renamed import present_names

FORMER = {
    "literal": {"form": "direct"},
    "multi_step": {"form": "direct"},
    "random_step": {"form": "direct"},
    "density": {"least": 5, "good": 0.5, "candidates": 7, "vanilla_every": 3},
    "informed": {"own_family": True, "without": ["digits"], "horizon": 9},
}
PLAN = """
name: renamed
common: {{task: digits_mlp, budget: {{units: 9}}, target: 0.9}}
variations:
  a: {{warm_start: none}}
  b: {{warm_start: {warm_start}}}
seeds: {{first: 0, count: 6}}
"""


@pytest.mark.parametrize("name", FORMER)
def test_every_former_option_means_the_present_one(name):
    former = FORMER[name]
    present = present_names(resolve("warm_start", name))
    assert set(present) == set(former)
    named = {present[key]: value for key, value in former.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built = build("warm_start", {"name": name, **former})
    assert built == build("warm_start", {"name": name, **named}) != build("warm_start", {"name": name})


@pytest.mark.parametrize("module", ["hypernudge", "hypernudge.warmstart.policies.ohgw"])
def test_the_proposals_policy_is_found_by_its_former_name(module):
    found = importlib.import_module(module)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found.Literal is found.OHGW is hypernudge.OHGW
    assert "Literal" not in hypernudge.__all__


def test_second_names_build_what_is_registered():
    for kind, names in ALIASES.items():
        for second, name in names.items():
            assert second not in REGISTRY[kind] and registered(kind, second) == name
            assert build(kind, {"name": second}) == build(kind, {"name": name})
    assert build("warm_start", {"name": "ohgw"}).policy == "literal"


def plan_with(tmp_path, warm_start, defaults=None):
    folder = tmp_path / "config"
    folder.mkdir(exist_ok=True)
    if defaults is not None:
        (folder / "warm_start").mkdir(exist_ok=True)
        (folder / "warm_start" / "literal.yaml").write_text(defaults)
    (folder / "mine.yaml").write_text(PLAN.format(warm_start=warm_start))
    return load_plan(folder / "mine.yaml")


def test_a_plan_that_says_ohgw_is_the_plan_that_says_literal(tmp_path):
    for defaults in (None, "name: literal\neta_h: 0.01\n"):
        plans = [plan_with(tmp_path, name, defaults) for name in ("literal", "ohgw", "{name: ohgw}")]
        assert len({plan.hash for plan in plans}) == 1
        assert plans[1].variations[1].labels["warm_start"] == "literal"
    assert plans[1].variations[1].spec["warm_start"]["eta_h"] == 0.01


@pytest.mark.parametrize(("default", "given"), [("form", "objective"), ("objective", "form")])
def test_an_option_replaces_a_default_under_its_other_name(tmp_path, default, given):
    plan = plan_with(
        tmp_path, f"{{name: ohgw, {given}: direct}}", f"name: literal\n{default}: lookahead\nsteps: 2\n"
    )
    spec = plan.variations[1].spec["warm_start"]
    assert spec == {"name": "literal", given: "direct", "steps": 2, "label": "literal"}
