"""Speed and claim benchmarks; `python -m` also knows those that have moved by their former names."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

FORMER = {
    "compiled": "engine.compiled",
    "peers": "libraries",
    "probe_sources": "warm_starts.probe_sources",
    "same_records": "engine.same_records",
    "scheduler_peers": "schedulers.other_libraries",
    "scheduler_regret": "schedulers.regret",
    "scheduler_scale": "schedulers.scale",
    "tools_effect": "warm_starts.tools_effect",
}
"""Where each is now."""


class _Moved(importlib.abc.MetaPathFinder):
    """Finds a benchmark's file by a former name, for `python -m`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, rest = fullname.partition(".")
        name, _, below = rest.partition(".")
        if package != __name__ or name not in FORMER:
            return None
        found = importlib.util.find_spec(".".join(filter(None, (__name__, FORMER[name], below))))
        if found is None or found.origin is None:
            return None
        return importlib.util.spec_from_file_location(
            fullname, found.origin, submodule_search_locations=found.submodule_search_locations
        )


sys.meta_path.append(_Moved())
