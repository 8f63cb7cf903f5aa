"""Search spaces by name: five continuous hyper-parameters in three widths; fewer, more, and discrete ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypernudge.errors import InvalidArgumentError, require, unknown_name
from hypernudge.space import Categorical, Integer, Real, SearchSpace, parameter_from_spec

_SHARED = (Real("augmentation", 0.0, 1.0), Real("label_smoothing", 0.0, 0.3))

SPACES: dict[str, SearchSpace] = {
    # What an expert would search: one and a half decades of learning rate around the usual optimum.
    "narrow": SearchSpace(
        [
            Real("lr", 1e-2, 0.32, log=True),
            Real("weight_decay", 1e-5, 1e-2, log=True),
            Real("momentum", 0.5, 0.95),
            *_SHARED,
        ]
    ),
    # What somebody with a new model searches.
    "mid": SearchSpace(
        [
            Real("lr", 1e-4, 1.0, log=True),
            Real("weight_decay", 1e-6, 1e-1, log=True),
            Real("momentum", 0.0, 0.99),
            *_SHARED,
        ]
    ),
    # What somebody who knows nothing searches.
    "wide": SearchSpace(
        [
            Real("lr", 1e-6, 10.0, log=True),
            Real("weight_decay", 1e-8, 1.0, log=True),
            Real("momentum", 0.0, 0.99),
            *_SHARED,
        ]
    ),
}

# The same five as "mid", cut short, and carried on with penalties (see
# `hypernudge.tasks.supervised.regularised`).
SPACES["three"] = SearchSpace(SPACES["mid"].parameters[:3])
SPACES["ten"] = SearchSpace(
    [
        *SPACES["mid"],
        Real("focal_gamma", 0.0, 3.0),
        Real("confidence_penalty", 0.0, 0.5),
        Real("z_loss", 1e-6, 1e-2, log=True),
        Real("logit_penalty", 1e-6, 1e-1, log=True),
        Real("l1", 1e-7, 1e-3, log=True),
    ]
)
# Discrete hyper-parameters among continuous ones; warm starts leave them as they were sampled.
SPACES["mixed"] = SearchSpace(
    [
        *SPACES["mid"],
        Categorical("objective", ("cross_entropy", "brier")),
        Integer("focal_gamma", 0, 3),
    ]
)
# A language model under AdamW, whose rate lies lower and whose momentum is the decay of the first moment.
SPACES["language"] = SearchSpace(
    [
        Real("lr", 1e-5, 1e-1, log=True),
        Real("weight_decay", 1e-4, 1.0, log=True),
        Real("momentum", 0.5, 0.99),
        Real("dropout", 0.0, 0.3),
        Real("label_smoothing", 0.0, 0.3),
    ]
)
# Boosted trees, by XGBoost's names, in the ranges of published studies (TabArena, YAHPO's rbv2_xgboost).
_TREES = (
    Real("eta", 5e-3, 1.0, log=True),
    Integer("max_depth", 2, 12),
    Real("min_child_weight", 1e-3, 100.0, log=True),
    Real("subsample", 0.3, 1.0),
    Real("colsample_bytree", 0.3, 1.0),
    Real("lambda", 1e-4, 100.0, log=True),
    Real("alpha", 1e-4, 100.0, log=True),
    Real("gamma", 1e-6, 10.0, log=True),
)
SPACES["xgboost"] = SearchSpace(_TREES)
SPACES["xgboost_three"] = SearchSpace([*_TREES[:4]])  # three continuous ones, and the depth
SPACES["xgboost_ten"] = SearchSpace(
    [
        *_TREES,
        Real("colsample_bylevel", 0.3, 1.0),
        Real("colsample_bynode", 0.3, 1.0),
        Real("max_delta_step", 1e-2, 10.0, log=True),
        Categorical("grow_policy", ("depthwise", "lossguide")),
    ]
)
# PPO (`hypernudge.tasks.games.values`): the middle is what is published for Atari.
SPACES["ppo"] = SearchSpace(
    [
        Real("lr", 2.5e-5, 2.5e-3, log=True),
        Real("ent_coef", 1e-3, 1e-1, log=True),
        Real("vf_coef", 0.125, 2.0, log=True),
        Real("clip_range", 0.025, 0.4, log=True),
        Real("gamma", 0.981, 0.999),
        Real("gae_lambda", 0.9, 1.0),
        Real("max_grad_norm", 0.125, 2.0, log=True),
        Categorical("minibatches", (2, 4, 8)),
        Integer("epochs", 1, 7),
    ]
)
# Small problems want larger steps, and more of them on every rollout.
SPACES["ppo_control"] = SearchSpace(
    [
        Real("lr", 1e-4, 1e-2, log=True),
        Real("ent_coef", 1e-4, 1e-1, log=True),
        Real("vf_coef", 0.125, 2.0, log=True),
        Real("clip_range", 0.05, 0.8, log=True),
        Real("gamma", 0.96, 1.0),
        Real("gae_lambda", 0.8, 1.0),
        Real("max_grad_norm", 0.125, 2.0, log=True),
        Categorical("minibatches", (4, 8, 16)),
        Integer("epochs", 4, 16),
    ]
)


def build_space(spec: str | Mapping[str, Any]) -> SearchSpace:
    """Return a space by name, or from a mapping of names to descriptions (see `parameter_from_spec`).

    Raises:
        InvalidArgumentError: For an unknown name or an invalid description.
    """
    if isinstance(spec, str):
        if spec not in SPACES:
            raise unknown_name("space", spec, SPACES)
        return SPACES[spec]
    require(isinstance(spec, Mapping), "space", "must be a name or a mapping", spec, "'mid', say")
    try:
        space = SearchSpace([parameter_from_spec(name, value) for name, value in spec.items()])
    except InvalidArgumentError as error:
        message = str(error)
        raise InvalidArgumentError(message if message.startswith("space") else f"space.{message}") from None
    for parameter in space:
        if parameter.only_if is not None:
            parent, values = parameter.only_if
            never = [value for value in values if not space[parent].contains(value)]
            rule = f"only_if must hold values that {parent!r} can take"
            require(not never, f"space.{parameter.name}", rule, never, "correct them")
    return space
