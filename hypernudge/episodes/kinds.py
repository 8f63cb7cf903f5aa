"""What checkpoints call the parts of a scheduler: strings that outlive the names of classes."""

from typing import Any

# Checkpoints held names of classes before there were kinds; they still load.
FORMER = {
    "BucketedUCB": "bucketed_ucb",
    "DiscountedUCB": "discounted_ucb",
    "Exp3": "exp3",
    "KeyedNoise": "keyed",
    "StreamedNoise": "streamed",
    "ThompsonSampling": "thompson_sampling",
    "UniformBandit": "uniform",
}


def kind_of(part: object) -> str:
    """Return the `kind` of a bandit or a noise source; the name of a class that gives none of its own.

    Not an inherited one: what a subclass learns need not fit the class above it.
    """
    cls = type(part)
    return str(vars(cls).get("kind", cls.__name__))


def present_kinds(settings: Any, key: str = "") -> Any:
    """Return saved settings with kinds in place of the names of classes, at any depth."""
    if isinstance(settings, dict):
        return {name: present_kinds(value, name) for name, value in settings.items()}
    if isinstance(settings, list):
        return [present_kinds(value, key) for value in settings]
    if key in ("bandits", "noise") and isinstance(settings, str):
        return FORMER.get(settings, settings)
    return settings
