"""hypernudge steers hyper-parameters with what training already knows, and proves whether that helped."""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "AEES": "hypernudge.episodes",
    "EpisodicScheduler": "hypernudge.episodes",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import hypernudge`` stays free of torch."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    """List the lazy exports too."""
    return sorted([*globals(), *_EXPORTS])
