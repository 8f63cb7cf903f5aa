"""Names in configuration files, and what they stand for.

A name is looked up here, or, written as `module:attribute`, imported: that is how a user's own scheduler,
task or warm start enters a YAML file. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from hypernudge.errors import InvalidArgumentError, one_line, require, unknown_name
from hypernudge.renamed import present_names

REGISTRY: dict[str, dict[str, str]] = {
    "task": {
        "supervised": "hypernudge.tasks.builtin:supervised",
        "digits_mlp": "hypernudge.tasks.builtin:digits_mlp",
        "digits_cnn": "hypernudge.tasks.builtin:digits_cnn",
        "breast_cancer_mlp": "hypernudge.tasks.builtin:breast_cancer_mlp",
        "image_classification": "hypernudge.tasks.vision.task:ImageClassification",
        "language_model": "hypernudge.tasks.language.task:LanguageModel",
        "xgboost": "hypernudge.tasks.tabular.task:XGBoostTask",
        "ppo": "hypernudge.tasks.games.task:PPOTask",
    },
    "model": {
        "mlp": "hypernudge.tasks.networks.mlp:MLP",
        "cnn": "hypernudge.tasks.networks.cnn:SmallCNN",
        "resnet20": "hypernudge.tasks.vision.networks:resnet20",
        "resnet32": "hypernudge.tasks.vision.networks:resnet32",
        "resnet44": "hypernudge.tasks.vision.networks:resnet44",
        "resnet56": "hypernudge.tasks.vision.networks:resnet56",
        "resnet110": "hypernudge.tasks.vision.networks:resnet110",
        "resnet18_cifar": "hypernudge.tasks.vision.networks:resnet18_cifar",
        "vit": "hypernudge.tasks.vision.networks:vit",
        "transformer_lm": "hypernudge.tasks.language.transformer:TransformerLM",
        "ppo_cnn": "hypernudge.tasks.games.models:ppo_cnn",
        "ppo_mlp": "hypernudge.tasks.games.models:ppo_mlp",
    },
    "scheduler": {
        "random": "hypernudge.schedulers.random:RandomSearch",
        "successive_halving": "hypernudge.schedulers.halving:SuccessiveHalving",
        "hyperband": "hypernudge.schedulers.hyperband:Hyperband",
        "asha": "hypernudge.schedulers.asha:ASHA",
        "asha_stopping": "hypernudge.schedulers.asha_stopping:StoppingASHA",
        "pasha": "hypernudge.schedulers.pasha:PASHA",
        "bohb": "hypernudge.schedulers.bohb:BOHB",
        "dyhpo": "hypernudge.schedulers.dyhpo:DyHPO",
        "boil": "hypernudge.schedulers.boil:BOIL",
        "one_epoch": "hypernudge.schedulers.one_epoch:OneEpoch",
    },
    "sampler": {
        "uniform": "hypernudge.schedulers.base:Uniform",
        "kde": "hypernudge.surrogates.kde:KDESampler",
        "gp": "hypernudge.surrogates.gp_sampler:GPSampler",
    },
    "warm_start": {
        "none": "hypernudge.warmstart.base:NoWarmStart",
        "literal": "hypernudge.warmstart.policies.ohgw:OHGW",
        "multi_step": "hypernudge.warmstart.policies.ohgw:multi_step",
        "random_step": "hypernudge.warmstart.policies.random_step:RandomStep",
        "placebo": "hypernudge.warmstart.policies.placebo:Placebo",
        "fixed_band": "hypernudge.warmstart.policies.fixed_band:FixedBand",
        "curvature_band": "hypernudge.warmstart.policies.curvature_band:CurvatureBand",
        "newton": "hypernudge.warmstart.policies.newton:Newton",
        "probe_band": "hypernudge.warmstart.policies.probe_band:ProbeBand",
        "density": "hypernudge.warmstart.policies.learning_rate_tpe:LearningRateTPE",
        "informed": "hypernudge.warmstart.policies.informed:Informed",
    },
    "optimizer": {
        "sgd": "hypernudge.optimizers:SGD",
        "adamw": "hypernudge.optimizers:AdamW",
    },
    "schedule": {
        "constant": "hypernudge.tasks.module.schedules:Constant",
        "linear": "hypernudge.tasks.module.schedules:Linear",
        "cosine": "hypernudge.tasks.module.schedules:Cosine",
        "step": "hypernudge.tasks.module.schedules:Step",
        "warmup_stable_decay": "hypernudge.tasks.module.schedules:WarmupStableDecay",
    },
    "engine": {
        "serial": "hypernudge.engine.serial:SerialEngine",
        "population": "hypernudge.engine.population:PopulationEngine",
        "processes": "hypernudge.engine.workers.processes:ProcessEngine",
        "ray": "hypernudge.engine.workers.ray:RayEngine",
    },
    "picture": {
        "incumbent": "hypernudge.study.plots.incumbent:draw",
        "learning_curves": "hypernudge.study.plots.learning_curves:draw",
        "parallel_coordinates": "hypernudge.study.plots.parallel_coordinates:draw",
        "slices": "hypernudge.study.plots.slices:draw",
        "importance": "hypernudge.study.plots.importance:draw",
        "timeline": "hypernudge.study.plots.timeline:draw",
        "shifts": "hypernudge.study.plots.shifts:draw",
    },
    "episodes_picture": {"episodes": "hypernudge.episodes.plots:draw"},
}


FAMILIES: dict[str, dict[str, str]] = {"model": {"timm/": "hypernudge.tasks.vision.networks:timm_network"}}
"""What knows all names with a prefix: `timm/resnet50` is `timm_network("resnet50", ...)`."""

ALIASES: dict[str, dict[str, str]] = {"warm_start": {"ohgw": "literal", "learning_rate_tpe": "density"}}
"""Second names. Plans and labels hold the registered one, whichever was written."""

_registered_only: ContextVar[bool] = ContextVar("registered_only", default=False)


@contextlib.contextmanager
def registered_only() -> Iterator[None]:
    """Refuse `module:attribute` within: what is read may be a stranger's, and must not name code."""
    token = _registered_only.set(True)
    try:
        yield
    finally:
        _registered_only.reset(token)


def registered(kind: str, name: Any) -> Any:
    """Return the registered name for a second one, anything else as it is."""
    return ALIASES.get(kind, {}).get(name, name) if isinstance(name, str) else name


def check_name(kind: str, name: object, where: str | None = None) -> str:
    """Return the registered name, or `name` itself where it has the form `module:attribute`.

    Raises:
        InvalidArgumentError: Otherwise, with the nearest names; within `registered_only`, for any name that
            is not registered.
    """
    name = registered(kind, name)
    if _registered_only.get() and not (name in REGISTRY[kind] or _family(kind, name)):
        raise unknown_name(where or kind, name, REGISTRY[kind], "must be a known name where results are read")
    if isinstance(name, str) and (name in REGISTRY[kind] or name.count(":") == 1 or _family(kind, name)):
        return name
    rule = "must be one of the known names or 'module:attribute'"
    known = [*REGISTRY[kind], *ALIASES.get(kind, ()), *(f"{prefix}NAME" for prefix in FAMILIES.get(kind, ()))]
    raise unknown_name(where or kind, name, known, rule)


def _family(kind: str, name: object) -> str | None:
    return next((prefix for prefix in FAMILIES.get(kind, ()) if str(name).startswith(prefix)), None)


def resolve(kind: str, name: str) -> Callable[..., Any]:
    """Return what `name` stands for.

    Raises:
        InvalidArgumentError: If the name is unknown, or its module or attribute does not exist.
    """
    name = check_name(kind, name)
    prefix = _family(kind, name)
    target = FAMILIES[kind][prefix] if prefix else REGISTRY[kind].get(name, name)
    module, attribute = target.split(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a user's module may raise anything while it is imported
        usual = isinstance(error, ImportError | AttributeError)
        reason = one_line(error) if usual else f"raises {type(error).__name__}: {one_line(error)}"
        raise InvalidArgumentError(
            f"{kind}: {name!r} must be importable, but {reason}; check the spelling, and put the module "
            "beside the YAML file or on the Python path"
        ) from None
    require(callable(found), kind, f"{name!r} must name a class or a function", found, "name another")
    return functools.partial(found, name.removeprefix(prefix)) if prefix else found


def check_options(kind: str, spec: Mapping[str, Any], supplied: tuple[str, ...] = ()) -> None:
    """Refuse options that what `spec` names does not take; `supplied` are given by the caller.

    Raises:
        InvalidArgumentError: Naming the first unknown option and those that exist.
    """
    rule = "must be a mapping with a name and options"
    require(isinstance(spec, Mapping) and "name" in spec, kind, rule, spec, "add `name:`")
    target = resolve(kind, spec["name"])
    parameters = _parameters(target)
    if parameters is None or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    known = [name for name in parameters if name not in supplied]
    present = present_names(target)
    for option in spec:
        if option in present:
            rule = f"must be given once, but {present[option]!r} stands there too, its present name"
            remedy = f"remove {option!r}"
            require(present[option] not in spec, f"{kind}.{option}", rule, spec[option], remedy)
        elif option != "name" and option not in known:
            rule = f"{spec['name']!r} takes the options {known}"
            raise unknown_name(f"{kind}.{option}", option, known, rule)


def _parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Return the parameters of a callable; None for one of C that does not tell."""
    try:
        return inspect.signature(target).parameters
    except ValueError:
        return None


def build(kind: str, spec: Mapping[str, Any], **supplied: Any) -> Any:
    """Call what `spec["name"]` stands for with the remaining options and `supplied`.

    Raises:
        InvalidArgumentError: If the name or an option is unknown, or a value breaks a rule.
    """
    check_options(kind, spec, tuple(supplied))
    target = resolve(kind, spec["name"])
    present = present_names(target)
    options = {present.get(key, key): value for key, value in spec.items() if key != "name"}
    needed = [
        name
        for name, parameter in (_parameters(target) or {}).items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    missing = [name for name in needed if name not in options and name not in supplied]
    rule = f"{spec['name']!r} needs the options {missing}"
    require(not missing, kind, rule, dict(spec), "add them beside the name")
    return target(**supplied, **options)


def instance(
    kind: str, value: object, has: Sequence[str] = (), calls: int | None = None, **supplied: Any
) -> Any:
    """Return an argument that a caller may also give by name, as YAML does: `"asha"`, `{"name": ..., ...}`.

    Args:
        kind: Of what, as in `build`; also the argument's name in errors.
        value: The thing itself, its name, or a mapping of its name and options.
        has: Attributes that it must have.
        calls: Positional arguments that it must take when called; None where it is not called.
        **supplied: As in `build`.

    Raises:
        InvalidArgumentError: For a class in the place of an instance, an unknown name or option, or something
            that is nothing of this kind.
    """
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, Mapping):
        require("name" in value, kind, "a mapping must hold a 'name'", dict(value), "add it")
        return _built(kind, value, supplied)
    check_instance(kind, value)
    missing = [name for name in has if not hasattr(value, name)]
    usual = f"give one of the known names, {', '.join(REGISTRY[kind])}, or an instance"
    require(not missing, kind, f"must have {list(has)}", value, usual)
    if calls is not None:
        require(callable(value), kind, "must be callable", value, usual)
        require(takes(value, calls), kind, f"must take {calls} arguments", value, usual)
    return value


def check_instance(argument: str, value: object) -> None:
    """Refuse a class in the place of an instance.

    Raises:
        InvalidArgumentError: With the brackets that are missing.
    """
    if isinstance(value, type):
        name = value.__name__
        raise InvalidArgumentError(
            f"{argument}: must be an instance, but got the class {name}; write {name}(...)"
        )


def takes(function: object, count: int) -> bool:
    """Whether `count` positional arguments can be passed; yes where nobody can tell."""
    try:
        inspect.signature(function).bind(*[None] * count)  # type: ignore[arg-type]
    except ValueError:  # some built-in functions have no signature
        return True
    except TypeError:
        return False
    return True


def _built(kind: str, spec: Mapping[str, Any], supplied: Mapping[str, Any]) -> Any:
    check_options(kind, spec, tuple(supplied))
    parameters = inspect.signature(resolve(kind, spec["name"])).parameters
    taken = {name: value for name, value in supplied.items() if name in parameters}
    return build(kind, spec, **taken)
