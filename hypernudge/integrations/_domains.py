"""Search-space domains of Ray Tune and of Syne Tune, which took its own from Ray's."""

from __future__ import annotations

import math
from typing import Any

from hypernudge.integrations._external_space import ExternalSpace


def add_domain(found: ExternalSpace, name: str, domain: Any, *, upper_excluded: bool) -> None:
    """Add one domain to a declared space; leave out what has no bounds, and constants.

    Args:
        found: Where to.
        name: The hyper-parameter's name.
        domain: A float, integer, categorical or finite-range domain; anything else is ignored.
        upper_excluded: Whether unquantised integers end below their upper bound, as in Ray Tune.
    """
    if hasattr(domain, "categories"):
        found.choice(name, domain.categories)
        return
    if hasattr(domain, "values") and hasattr(domain, "log_scale"):
        found.listed(name, sorted(domain.values), domain.log_scale)
        return
    value_type: Any = getattr(domain, "value_type", None)
    kind = {float: "float", int: "integer"}.get(value_type, type(domain).__name__.lower())
    if kind not in ("float", "integer") or not hasattr(domain, "get_sampler"):
        return
    bounds = (domain.lower, domain.upper)
    if not all(isinstance(bound, int | float) and math.isfinite(bound) for bound in bounds):
        return
    sampler = domain.get_sampler()
    step: Any = getattr(sampler, "q", None)
    log = type(getattr(sampler, "sampler", None) or sampler).__name__ == "_LogUniform"
    low, high = bounds
    if kind == "integer":
        stepped = step not in (None, 1)
        multiples = range(math.ceil(low / step), math.floor(high / step) + 1) if stepped else ()
        allowed = [int(step * index) for index in multiples]
        found.whole(name, low, high - (1 if upper_excluded and not stepped else 0), log, allowed)
    elif step:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        found.listed(name, tuple(step * index for index in range(first, last + 1)), log)
    else:
        found.real(name, low, high, log)
