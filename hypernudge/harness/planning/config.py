"""From YAML to a dictionary: Hydra composition, safe loading, placeholders.

A file with a `defaults` list is composed by Hydra, its groups being the folders beside it, and those of the
package for what is not there; any other file is plain YAML. A file whose first line is Hydra's
`# @package _global_` stands in a sub-folder and shares the groups of the folder above, named from there:
`defaults: [/engine: serial, _self_]`. Command-line overrides have Hydra's syntax in all cases
(`common.budget.units=60`).
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness.planning.shipped import shipped_root
from hypernudge.harness.planning.yaml_text import check_interpolations, check_structure, read_text

IN_SUBFOLDER = "# @package _global_"
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]*_PLACEHOLDER")


def load_yaml(path: Path) -> dict[str, Any]:
    """Return a plain YAML file as a dictionary, loaded safely.

    Raises:
        InvalidArgumentError: If the file does not exist or cannot be read, is not YAML, is not a mapping, or
            is larger than the bounds of `hypernudge.harness.planning.yaml_text`.
    """
    return _mapping(_loaded(path, read_text(path)), path)


def parse_yaml(text: str, path: Path) -> dict[str, Any]:
    """Return YAML text as a dictionary, interpolations left as they are.

    Raises:
        InvalidArgumentError: As `load_yaml`; `path` is what the error names.
    """
    from omegaconf import OmegaConf

    return _mapping(OmegaConf.to_container(_parsed(text, path), resolve=False), path)


def _loaded(path: Path, text: str) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    parsed = _parsed(text, path)
    if "${" in text:
        check_interpolations(OmegaConf.to_container(parsed, resolve=False), path)
    try:
        return OmegaConf.to_container(parsed, resolve=True)
    except OmegaConfBaseException as error:
        raise _unreadable(path, error) from None


def _parsed(text: str, path: Path) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    check_structure(text, path)
    try:
        # Not PyYAML's own loader: that one reads 1e-3 as a string and takes the last of duplicate keys.
        return OmegaConf.load(io.StringIO(text))
    except (YAMLError, OmegaConfBaseException, OSError, ValueError, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from None  # a number of too many digits, a list as a key


def _mapping(loaded: Any, path: Path) -> dict[str, Any]:
    ok = isinstance(loaded, dict)
    require(ok, "config file", "must hold a mapping", type(loaded).__name__, f"see the examples; file {path}")
    return {str(key): value for key, value in loaded.items()}


def _unreadable(path: Path, error: Exception) -> InvalidArgumentError:
    reason = " ".join(str(error).split())[:500]
    return InvalidArgumentError(f"config file: {path} must be YAML, but: {reason}; correct it")


def config_root(path: Path) -> Path:
    """Return the folder whose sub-folders are the groups of an experiment file."""
    own = path.resolve().parent
    return own.parent if path.is_file() and read_text(path).startswith(IN_SUBFOLDER) else own


@contextlib.contextmanager
def yaml_names(root: Path) -> Iterator[Path]:
    """Yield a folder in which every `.yml` of `root` and its groups is called `.yaml`: Hydra finds no other.

    It is `root` itself where there is none, links to it otherwise; beside a file of its name, `.yml` is not
    looked at.
    """
    if not any(itertools.chain(root.glob("*.yml"), root.glob("*/*.yml"))):
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(folder)
        for entry in root.iterdir():
            if entry.is_dir() and any(entry.glob("*.yml")):
                (seen / entry.name).mkdir()
                _link_all(entry, seen / entry.name)
        _link_all(root, seen)
        yield seen


def _link_all(source: Path, target: Path) -> None:
    # Sorted, `.yaml` comes before `.yml`.
    for entry in sorted(source.iterdir()):
        name = entry.with_suffix(".yaml").name if entry.suffix == ".yml" else entry.name
        if not (target / name).exists():
            (target / name).symlink_to(entry, target_is_directory=entry.is_dir())


def compose(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the experiment that `path` describes, with `overrides` applied.

    Raises:
        InvalidArgumentError: If the file or an override is invalid.
    """
    raw = load_yaml(path)
    if "defaults" not in raw and not overrides:
        return raw
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    for override in overrides:
        key = override.lstrip("+~").split("=")[0]
        ours = re.match(r"hydra\b", key) is None
        require(ours, "override", "must be of the experiment, not of Hydra", override, "remove it")
    root = config_root(path)
    for file in _group_files(raw.get("defaults"), root):
        load_yaml(file)  # Hydra has no bounds, and no errors that a user understands
    try:
        name = path.resolve().relative_to(root).with_suffix("").as_posix()
        with (
            warnings.catch_warnings(),
            yaml_names(root) as seen,
            initialize_config_dir(version_base="1.3", config_dir=str(seen)),
        ):
            # Left out, it is the last: what the file says itself wins, as everybody expects.
            warnings.filterwarnings("ignore", message=".*Defaults list is missing `_self_`")
            composed = hydra_compose(config_name=name, overrides=[*overrides, _search_path(shipped_root())])
        check_interpolations(OmegaConf.to_container(composed, resolve=False), path)
        result = OmegaConf.to_container(composed, resolve=True)
    except InvalidArgumentError:
        raise
    except Exception as error:  # whatever Hydra, its grammar and its parser raise is about the user's text
        reason = " ".join(str(error).split())[:500]
        raise InvalidArgumentError(f"config file: {path} cannot be composed: {reason}; correct it") from None
    return _mapping(result, path)


def _search_path(folder: Path) -> str:
    """Return the override that has Hydra look in a folder after all others."""
    quoted = folder.as_posix().replace("'", "\\'")
    return f"hydra.searchpath=['file://{quoted}']"


def _group_files(defaults: Any, root: Path) -> Iterator[Path]:
    """Yield the files of a defaults list that are there; the rest is for Hydra to refuse."""
    if defaults is None:
        return
    rule = "must be a list such as [engine: serial, _self_]"
    require(isinstance(defaults, list), "defaults", rule, defaults, "correct it")
    for entry in defaults:
        for group, name in entry.items() if isinstance(entry, Mapping) else ():
            folder = root / str(group).removeprefix("override ").split("@")[0].strip("/ ")
            for chosen in name if isinstance(name, list) else [name]:
                for suffix in (".yaml", ".yml"):
                    if (folder / f"{chosen}{suffix}").is_file():
                        yield folder / f"{chosen}{suffix}"


def find_placeholders(node: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield `(where, placeholder)` for every placeholder in a configuration, keys included."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            here = f"{where}.{key}" if where else str(key)
            for found in PLACEHOLDER.findall(str(key)):
                yield here, found
            yield from find_placeholders(value, here)
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from find_placeholders(value, f"{where}[{index}]")
    elif isinstance(node, str):
        for found in PLACEHOLDER.findall(node):
            yield where, found


def refuse_placeholders(experiment: Mapping[str, Any]) -> None:
    """Raise `InvalidArgumentError` with every placeholder and where it stands, if there is any."""
    found = list(find_placeholders(experiment))
    if found:
        listed = ", ".join(f"{name} at {where}" for where, name in found)
        raise InvalidArgumentError(
            f"placeholders: a configuration must have none left to run, but got {listed}; "
            "fill them with `hypernudge derive FILE --set NAME=VALUE --output NEW.yaml`"
        )


def fill_placeholders(text: str, values: Mapping[str, str]) -> str:
    """Return the text of a template with placeholders replaced, in comments too; what `values` lacks stays.

    Raises:
        InvalidArgumentError: If a name in `values` is no placeholder of the text.
    """
    present = sorted(set(PLACEHOLDER.findall(text)))
    for name in values:
        require(name in present, "--set", f"must name a placeholder of the file {present}", name, "check it")
    return PLACEHOLDER.sub(lambda match: values.get(match.group(), match.group()), text)
