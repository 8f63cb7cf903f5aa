"""`--set NAME=VALUE`, given several times."""

from __future__ import annotations

from collections.abc import Iterable

from hypernudge.errors import require


def assignments(given: Iterable[str], name: str) -> dict[str, str]:
    """Return the values by name.

    Args:
        given: Each `NAME=VALUE`.
        name: What the part before the sign is called.

    Raises:
        InvalidArgumentError: One has no value, or a name comes twice.
    """
    found: dict[str, str] = {}
    for text in given:
        key, separator, value = text.partition("=")
        require(separator == "=", "--set", f"must have the form {name}=VALUE", text, "add the value")
        require(key not in found, "--set", f"must give a {name} once", key, "remove one of the two")
        found[key] = value
    return found
