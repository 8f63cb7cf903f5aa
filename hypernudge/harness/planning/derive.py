"""What `derive` made of a template, checked before it is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness.planning.config import (
    IN_SUBFOLDER,
    PLACEHOLDER,
    config_root,
    fill_placeholders,
    find_placeholders,
    parse_yaml,
)
from hypernudge.harness.planning.experiment_schema import experiment
from hypernudge.harness.planning.own_modules import modules_beside


def derived_text(template: str, values: Mapping[str, str]) -> str:
    """Return a template with its placeholders filled, without comment lines that name one.

    Raises:
        InvalidArgumentError: If a name in `values` is no placeholder of the template.
    """
    lines = template.splitlines(keepends=True)
    kept = [line for line in lines if not (line.startswith("#") and PLACEHOLDER.search(line))]
    return fill_placeholders("".join(kept), values)


def check_derived(text: str, path: Path) -> None:
    """Refuse a text in which a placeholder is left, and check the rest against the schema.

    Raises:
        InvalidArgumentError: For a placeholder in a key or a value, text that is not YAML, or what breaks a
            rule.
    """
    raw = parse_yaml(text, path)
    left: dict[str, list[str]] = {}
    for where, name in find_placeholders(raw):
        left.setdefault(name, []).append(where)
    if left:
        listed = "; ".join(f"{name} at {', '.join(places)}" for name, places in left.items())
        remedy = " ".join(f"--set {name}=VALUE" for name in left)
        raise InvalidArgumentError(f"--set: must fill every placeholder, but left {listed}; add {remedy}")
    raw.pop("defaults", None)  # for Hydra
    experiment.check(_filled(raw))


def check_place(text: str, template: Path, output: Path) -> None:
    """Refuse to write what names modules beside the template to where they are not.

    Raises:
        InvalidArgumentError: Naming them.
    """
    raw = parse_yaml(text, template)
    there = modules_beside(raw, (template.parent, config_root(template)))
    above = [output.resolve().parent.parent] if text.startswith(IN_SUBFOLDER) else []
    here = modules_beside(raw, (output.parent, *above))
    left = [name for name in there if name not in here]
    rule = f"must lie beside the modules that the template names, {', '.join(left)}"
    require(not left, "--output", rule, str(output), f"write it into {template.parent}, or copy them first")


def _filled(node: Any) -> Any:
    """Return data without the entries whose own value is an interpolation: Hydra fills those in."""
    if isinstance(node, Mapping):
        return {key: _filled(value) for key, value in node.items() if not _is_open(value)}
    if isinstance(node, list):
        return [_filled(value) for value in node if not _is_open(value)]
    return node


def _is_open(value: Any) -> bool:
    return isinstance(value, str) and "${" in value
