"""What `derive` made of a template, checked as far as it can be told before all placeholders are filled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypernudge.harness.planning.config import find_placeholders, parse_yaml
from hypernudge.harness.planning.experiment_schema import experiment


def check_derived(text: str, path: Path) -> None:
    """Check a template's text against the schema, all but what still holds placeholders.

    Raises:
        InvalidArgumentError: For text that is not YAML, or a key or value that breaks a rule.
    """
    raw = parse_yaml(text, path)
    raw.pop("defaults", None)  # for Hydra
    experiment.check(_filled(raw))


def _filled(node: Any) -> Any:
    """Return data without the entries whose key or own value is a placeholder or an interpolation."""
    if isinstance(node, Mapping):
        return {
            key: _filled(value)
            for key, value in node.items()
            if not _is_open(value) and not any(find_placeholders(str(key)))
        }
    if isinstance(node, list):
        return [_filled(value) for value in node if not _is_open(value)]
    return node


def _is_open(value: Any) -> bool:
    return isinstance(value, str) and ("${" in value or any(find_placeholders(value)))
