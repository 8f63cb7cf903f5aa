"""From a composed experiment to a plan: everything resolved and checked before anything runs.

An experiment's `variations:` map a run id to its configuration; `common:` holds what they share, and `grid:`
may stand for many at once (`hypernudge.harness.planning.grid`). A component (task, model, scheduler,
warm_start, engine) is a name, or a mapping with `name` and options; a file `<group>/<name>.yaml` beside the
experiment (or its folder), else the one in the package, supplies its defaults. A module that a name stands
for is looked for beside the experiment, too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from numbers import Real
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.loading.criteria_schema import control_labels
from hypernudge.evidence.loading.plan import Criteria
from hypernudge.harness.planning import engines
from hypernudge.harness.planning import experiment_schema as schema
from hypernudge.harness.planning.config import compose, config_root, load_yaml, refuse_placeholders
from hypernudge.harness.planning.grid import expand
from hypernudge.harness.planning.launchers import read_launcher
from hypernudge.harness.planning.own_modules import find_modules
from hypernudge.harness.planning.plan import Plan, unlabelled
from hypernudge.harness.planning.shipped import shipped_root
from hypernudge.harness.planning.values import read_seeds, read_target
from hypernudge.registry import REGISTRY, check_name, check_options, registered, resolve
from hypernudge.renamed import present_names
from hypernudge.results.digests import digest
from hypernudge.results.names import broken_rule
from hypernudge.results.plan import Variation
from hypernudge.schema import check_plain, rule_of
from hypernudge.tasks.data.catalogue import builder_for
from hypernudge.tasks.games.catalogue import metric_of as game_metric
from hypernudge.tasks.spaces import build_space
from hypernudge.tasks.tabular.problems import metric_of as table_metric

COMPONENTS = ("task", "model", "scheduler", "warm_start", "engine")
# No defaults for the others: plans without them keep their hash.
_OPTIONAL = ("controls", "factorial", "clock")
EVIDENCE: dict[str, Any] = {f.name: f.default for f in fields(Criteria) if f.name not in _OPTIONAL}
# Of registered tasks, where not accuracy in [0, 1], and not the space "mid": a plan is read without importing
# what trains them.
OTHER_METRICS: dict[str, tuple[str, list[float | None]]] = {"language_model": ("negative loss", [None, 0.0])}
OTHER_SPACES = {"language_model": "language", "xgboost": "xgboost", "ppo": "ppo"}
DEFAULTS: dict[str, Any] = {
    "scheduler": "asha",
    "warm_start": "none",
    "engine": "serial",
    "training": {},
    "workers": 4,
    "flops_per_second": 1e9,
}


def load_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Compose, resolve and check an experiment file.

    Raises:
        InvalidArgumentError: With the key, the rule, the value and the remedy, for anything invalid.
    """
    experiment, root = compose(path, overrides), config_root(path)
    if "part_of" not in experiment:  # that one lies among results, from where nothing is imported
        find_modules(experiment, (path.parent, root))
    return resolve_plan(experiment, root)


def resolve_plan(experiment: Mapping[str, Any], folder: Path) -> Plan:
    """Resolve a composed experiment; component files are looked up in `folder`, then in the package.

    What was resolved before has them in it, and nothing is looked up.
    """
    refuse_placeholders(experiment)
    schema.experiment.check(experiment)
    check_plain(experiment)
    variations = _variations(experiment)
    common = dict(experiment.get("common") or {})
    for shared in ("engine", "seeds"):
        if shared in experiment:
            common.setdefault(shared, experiment[shared])
    done = experiment.get("resolved", False) or "part_of" in experiment
    seen = _Seen(() if done else (folder, shipped_root()))
    resolved = tuple(
        _variation(run_id, {**common, **(own or {})}, common, seen) for run_id, own in variations.items()
    )
    engines.check_clocks(resolved)
    cells = sum(len(variation.spec["seeds"]) for variation in resolved)
    rule = f"must be at most {schema.MAX_CELLS:,} cells in all, variations times seeds"
    require(cells <= schema.MAX_CELLS, "experiment", rule, cells, "split it")
    evidence = _evidence(experiment.get("evidence") or {}, resolved, "part_of" in experiment)
    launcher = read_launcher(experiment.get("launcher"), lambda name: seen.group_file("launcher", name))
    name, part_of = (str(experiment.get(key, "")) for key in ("name", "part_of"))
    return Plan(name or "experiment", resolved, evidence, launcher, part_of)


def _variations(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """Return run id -> configuration, those of the grid first."""
    listed = {str(run_id): own for run_id, own in (experiment.get("variations") or {}).items()}
    grid = expand(experiment["grid"]) if "grid" in experiment else {}
    rule = "must map run ids to configurations"
    require(bool(listed or grid), "variations", rule, experiment.get("variations"), "add at least one")
    both = sorted(set(grid) & set(listed))
    require(not both, "variations", "must not repeat run ids of the grid", both, "rename them")
    variations = {**grid, **listed}
    folded: dict[str, str] = {}
    for run_id in variations:
        broken = broken_rule(run_id)
        require(broken is None, f"variations.{run_id[:80]}", str(broken), run_id, "rename it")
        other = folded.setdefault(run_id.casefold(), run_id)
        rule = f"must differ from {other!r} by more than case, for both are file names"
        require(other == run_id, f"variations.{run_id}", rule, run_id, "rename one")
    return variations


class _Seen:
    """What need not be done again for every one of hundreds of variations."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._files: dict[tuple[str, str], dict[str, Any]] = {}
        self._checked: set[str] = set()

    def group_file(self, kind: str, name: object) -> dict[str, Any]:
        """Return what `<kind>/<name>.yaml` (or `.yml`) holds; nothing if it does not exist."""
        if not isinstance(name, str) or ":" in name:
            return {}
        if (kind, name) not in self._files:
            there: list[Path] = []
            for folder in self._folders:  # the first that has it
                files = [folder / kind / f"{name}{suffix}" for suffix in (".yaml", ".yml")]
                there = there or [file for file in files if file.is_file()]
            paths = [str(file) for file in there]
            require(len(there) < 2, kind, "must be one file", paths, "remove one of the two")
            found = load_yaml(there[0]) if there else {}
            where = f"{kind}/{there[0].name}" if there else kind
            schema.group_files[kind].check(found, where)
            check_plain(found, where)
            find_modules(found, self._folders)
            self._files[kind, name] = found
        return copy.deepcopy(self._files[kind, name])

    def first(self, *what: Any) -> bool:
        """Whether this plain data is met for the first time."""
        key = digest(what)
        new = key not in self._checked
        self._checked.add(key)
        return new


def _variation(run_id: str, merged: Mapping[str, Any], common: Mapping[str, Any], seen: _Seen) -> Variation:
    where = f"variations.{run_id}"
    given: dict[str, Any] = {**DEFAULTS, **merged}
    require("task" in given, f"{where}.task", "must be given", None, f"one of {sorted(REGISTRY['task'])}")
    spec: dict[str, Any] = {}
    for kind in COMPONENTS:
        if kind in given:
            spec[kind] = _component(kind, given[kind], common.get(kind), seen, f"{where}.{kind}")
    task = spec["task"]
    if task["name"] == "supervised":  # one name for all data sets, so that a template may leave them open
        task["name"] = builder_for(task.get("dataset")) or "supervised"
    for key in ("target", "space", "model", "training"):
        inherited = task.pop(key, None)
        if inherited is not None and key not in merged:
            given[key] = inherited
    if "model" in given:
        spec["model"] = _component("model", given["model"], common.get("model"), seen, f"{where}.model")
    spec["space"] = given.get("space", OTHER_SPACES.get(task["name"], "mid"))
    spec["training"] = {**(common.get("training") or {}), **(given["training"] or {})}
    _check_task(spec, where)
    for key in ("target", "budget", "seeds"):
        remedy = schema.VARIATION[key].get("remedy", "add it")
        require(given.get(key) is not None, f"{where}.{key}", rule_of(schema.VARIATION[key]), None, remedy)
    spec["target"] = read_target(given["target"], task, where)
    spec["budget"] = {name: float(value) for name, value in given["budget"].items()}
    own = engines.take_workers(spec["engine"], merged, f"{where}.engine", schema.MAX_WORKERS)
    spec["workers"] = given["workers"] if own is None else own
    spec["flops_per_second"] = float(given["flops_per_second"])
    spec["seeds"] = read_seeds(given["seeds"])
    for kind in ("scheduler", "warm_start", "engine"):
        if seen.first(kind, spec[kind], spec["space"]):
            _check_component(kind, spec[kind], f"{where}.{kind}", spec["space"])
    for kind in ("task", "scheduler", "warm_start"):
        label = spec[kind].setdefault("label", spec[kind]["name"])
        if seen.first("label", label):  # a grid may have made it
            schema.label.check(label, f"{where}.{kind}.label")
    return Variation.of(run_id, spec)


def _component(kind: str, value: Any, shared: Any, seen: _Seen, where: str) -> dict[str, Any]:
    """Return a component as a mapping with `name`: group file, then common options, then its own."""
    own = {"name": value} if isinstance(value, str) else value
    base = {"name": shared} if isinstance(shared, str) else dict(shared or {})
    name = own.get("name", base.get("name"))
    require(name is not None, where, "must have a name", value, "add `name:`")
    from_file = seen.group_file(kind, name) or seen.group_file(kind, registered(kind, name))
    same = registered(kind, base.get("name")) == registered(kind, name)
    # A file may stand for another name, with options.
    component: dict[str, Any] = {"name": check_name(kind, from_file.get("name", name), where)}
    former = _former_names(kind, component["name"])
    for layer in (from_file, base if same else {}, own):
        options = {key: value for key, value in layer.items() if key != "name"}
        replaced = {former.get(key, key) for key in options}
        component = {k: v for k, v in component.items() if former.get(k, k) not in replaced} | options
    return component


def _former_names(kind: str, name: str) -> Mapping[str, str]:
    """Return the options' present names by their former ones; either replaces a default under the other."""
    if kind not in ("scheduler", "warm_start", "engine"):  # importing a task or a model takes seconds
        return {}
    try:
        return present_names(resolve(kind, name))
    except InvalidArgumentError:  # said where the component is built
        return {}


def _check_component(kind: str, spec: Mapping[str, Any], where: str, space: Any) -> None:
    """Build the component once, so that every bad value is refused before any work."""
    options = unlabelled(spec)
    try:
        supplied = {"space": build_space(space)} if kind == "scheduler" else {}
        check_options(kind, options, engines.SUPPLIED if kind == "engine" else tuple(supplied))
        if kind == "engine":  # built with its task, when the cell runs
            return
        arguments = {key: value for key, value in options.items() if key != "name"}
        resolve(kind, options["name"])(**supplied, **arguments)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{where}: {error}") from None
    except TypeError as error:
        raise InvalidArgumentError(f"{where}: cannot be built from {options}: {error}") from None


def _check_task(spec: dict[str, Any], where: str) -> None:
    """Check names and ranges of a task, and note its metric, without importing what trains it."""
    task = spec["task"]
    try:
        build_space(spec["space"])
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{where}.{error}") from None
    if task["name"] in REGISTRY["task"]:
        if task["name"] == "xgboost":
            from hypernudge.tasks.tabular.description import check_dataset

            check_dataset(task.get("dataset"))
        elif isinstance(task.get("dataset"), Mapping) and "table" in task["dataset"]:
            from hypernudge.tasks.data.tables import files_of

            files_of(task["dataset"])
        metric, bounds_of = _metric_of(task)
        task.setdefault("metric", metric)
        task.setdefault("metric_range", list(bounds_of))
        return
    built = resolve("task", task["name"])
    task.setdefault("metric", getattr(built, "metric", "score"))
    bounds = getattr(built, "metric_range", (-math.inf, math.inf))
    ok = isinstance(task["metric"], str)
    require(ok, f"{where}.task.metric", "must be text", task["metric"], "state metric: in the configuration")
    numbers = isinstance(bounds, tuple | list) and all(isinstance(b, Real) for b in bounds)
    rule, remedy = "must be (lowest, highest)", "state metric_range: in the configuration"
    require(numbers or "metric_range" in task, f"{where}.task.metric_range", rule, bounds, remedy)
    if "metric_range" not in task:  # an open end is null, for a plan is strict JSON
        task["metric_range"] = [float(b) if math.isfinite(b) else None for b in bounds]
    ends = task["metric_range"]
    ascending = len(ends) == 2 and (None in ends or ends[0] < ends[1])
    require(ascending, f"{where}.task.metric_range", "must be [lowest, highest]", ends, "swap them")


def _metric_of(task: Mapping[str, Any]) -> tuple[str, list[float | None]]:
    """Return name and range of the score of a registered task."""
    if task["name"] == "xgboost":
        return table_metric(task)
    if task["name"] == "ppo":
        return game_metric(task)
    return OTHER_METRICS.get(task["name"], ("accuracy", [0.0, 1.0]))


def _evidence(given: Mapping[str, Any], variations: Sequence[Variation], part: bool) -> dict[str, Any]:
    evidence = {**EVIDENCE, **given}
    named = {label for triple in evidence.get("factorial", ()) for label in triple}
    absent = named - {variation.warm_start for variation in variations}
    rule = "must name labels of variations"
    require(part or not absent, "evidence.factorial", rule, sorted(absent), "check their names")
    control_labels(**evidence.get("controls", {}))  # refuses one role under two names
    _check_pairs(variations, evidence["baseline"])
    return evidence


def _check_pairs(variations: Sequence[Variation], baseline: str) -> None:
    by_setting: dict[tuple[str, str], list[Variation]] = {}
    for variation in variations:
        by_setting.setdefault(variation.setting, []).append(variation)
    for (task, scheduler), members in by_setting.items():
        labels = [member.warm_start for member in members]
        where = f"variations of ({task}, {scheduler})"
        unique = len(set(labels)) == len(labels)
        require(unique, where, "warm-start labels must differ", labels, "add `label:` to one of them")
        bases = [member for member in members if member.warm_start == baseline]
        if len(members) == 1:
            continue
        require(len(bases) == 1, where, f"need the baseline {baseline!r}", labels, "add it")
        for member in members:
            pairs = len(set(member.seeds) & set(bases[0].seeds))
            ok = member is bases[0] or pairs > 0  # a trial of two or three is judged "unpowered"
            rule = "must share seeds with the baseline, for a pair is two runs of one seed"
            require(ok, f"variations.{member.run_id}.seeds", rule, list(member.seeds), "use the same seeds")
