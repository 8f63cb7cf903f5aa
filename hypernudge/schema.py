"""Plain data checked against a JSON Schema, with errors a user can act on.

A schema is a dictionary of JSON Schema, 2020-12, with two annotations of ours: `rule` says in words what must
hold where the keywords alone would not be clear, `remedy` what to do about it. Booleans are no numbers, a
whole number is never written `1.0`, NaN and infinities are no numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from hypernudge.errors import LONGEST, InvalidArgumentError, require, shown, unknown_name

Schema = dict[str, Any]

WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "absent",
}
_RANGE = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


def whole(pattern: str) -> str:
    """Return the pattern of a text that matches from end to end; a `$` alone would allow a last newline."""
    return f"^(?:{pattern})$(?!\\n)"


class Rules:
    """What data of one kind must look like.

    Args:
        schema: See above.
        root: What the data as a whole is called in an error.
    """

    def __init__(self, schema: Schema, root: str) -> None:
        self.schema, self.root = schema, root
        self._validator: Any = None

    def check(self, data: object, where: str | None = None) -> None:
        """Refuse data that breaks a rule; `where` is the name of the data in the error, `root` if absent.

        Raises:
            InvalidArgumentError: Naming the key, the rule, the value and the remedy, of the first mistake.
        """
        if self._validator is None:
            self._validator = _validator()(self.schema)
        error = next(self._validator.iter_errors(data), None)
        if error is not None:
            raise _refusal(error, self.root if where is None else where, where is None)


@cache
def _validator() -> Any:
    import jsonschema  # lazily: its import takes as long as reading a configuration

    base = jsonschema.Draft202012Validator
    checks = {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: is_number(value),
        "object": lambda _, value: isinstance(value, Mapping),
        "array": lambda _, value: isinstance(value, list | tuple),
    }
    return jsonschema.validators.extend(base, type_checker=base.TYPE_CHECKER.redefine_many(checks))


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no boolean."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def check_plain(data: object, where: str = "") -> None:
    """Refuse what JSON cannot hold: NaN, infinities, bytes, keys that are no text.

    Raises:
        InvalidArgumentError: Naming where it stands.
    """
    if isinstance(data, Mapping):
        for key, value in data.items():
            rule = "keys must be text"
            require(isinstance(key, str), where or "experiment", rule, key, "quote it")
            check_plain(value, f"{where}.{_key(key)}" if where else _key(key))
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            check_plain(value, f"{where}[{index}]")
    else:
        plain = data is None or isinstance(data, str | bool) or is_number(data)
        require(plain, where, "must be text, a finite number, true, false or null", data, "correct it")


def _refusal(error: Any, root: str, at_root: bool) -> InvalidArgumentError:
    """Return the error for a violation of `jsonschema`."""
    path, schema, value = list(error.absolute_path), error.schema, error.instance
    if error.validator == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = next(key for key in value if key not in known)
        return unknown_name(_joined(root, path, at_root), unknown, known, "keys must be among the known ones")
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in value)
        rules = schema.get("properties", {}).get(missing, {})
        return _error(_joined(root, [*path, missing], at_root), "must be given", None, rules)
    where = _joined(root, path, at_root)
    if error.parent is not None and error.parent.validator == "propertyNames":
        where = f"{where}: a key"
    if error.validator == "enum":
        return unknown_name(where, value, [str(name) for name in error.validator_value])
    return _error(where, rule_of(schema, error.validator), _shown(value, error.validator), schema)


def _error(where: str, rule: str, value: object, schema: Mapping[str, Any]) -> InvalidArgumentError:
    try:
        require(False, where, rule, value, schema.get("remedy", "correct it"))
    except InvalidArgumentError as error:
        return error
    raise AssertionError("unreachable")


def _shown(value: Any, keyword: str) -> object:
    """Return what to show of a value: how long it is, where that is what is wrong with it."""
    if keyword in ("maxItems", "maxProperties", "maxLength"):
        return len(value)
    return value


def rule_of(schema: Mapping[str, Any], keyword: str = "type") -> str:
    """Return in words what a schema asks for; `keyword` is the part of it that was broken."""
    if keyword in ("maxItems", "maxProperties"):
        return f"must have at most {schema[keyword]:,} entries"
    if keyword == "maxLength":
        return f"must have at most {schema[keyword]:,} characters"
    if keyword == "uniqueItems":
        return "must differ"
    if "rule" in schema:
        return str(schema["rule"])
    if keyword in ("minItems", "minProperties", "minLength"):
        return "must not be empty"
    return f"must be {described(schema)}"


def described(schema: Mapping[str, Any]) -> str:
    """Return the kind of value that a schema allows, in words: "a whole number in [1, 10]"."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kinds = schema.get("type", [])
    names = [WORDS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    text = " or ".join(names) if names else "anything"
    bounds = [key for key in _RANGE if key in schema]
    if not bounds:
        return text
    low, high = schema.get("minimum"), schema.get("maximum")
    left = f"[{low:g}" if low is not None else f"({schema.get('exclusiveMinimum', -math.inf):g}"
    right = f"{high:g}]" if high is not None else f"{schema.get('exclusiveMaximum', math.inf):g})"
    if isinstance(low, int) and isinstance(high, int):
        left, right = f"[{low}", f"{high}]"
    return f"{text} in {left}, {right}"


def _joined(root: str, path: Sequence[str | int], at_root: bool) -> str:
    """Return a path as users write it: `common.seeds[2]`; the root's name only where there is no path."""
    text = "" if at_root and path else root
    for part in path:
        key = f"[{part}]" if isinstance(part, int) else _key(part)
        text += key if isinstance(part, int) or not text else f".{key}"
    return text


def _key(name: object) -> str:
    """Return a key as it is, unless it would not fit on the line of a message."""
    text = str(name)
    return text if text.isprintable() and len(text) <= LONGEST else shown(text)
