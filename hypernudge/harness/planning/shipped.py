"""The experiment files that come with the package: groups, smoke test, full experiment, template, studies.

In an installed package they lie inside it; in a checkout they are its `config/` folder. Nobody else needs to
know.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hypernudge.errors import require, unknown_name
from hypernudge.results.printable import abridged

GROUPS = ("engine", "launcher", "scheduler", "task", "warm_start")
FILES = ("smoke_test.yaml", "full_experiment.yaml", "template.yaml")
FOLDERS = (*GROUPS, "studies")


def shipped_root() -> Path:
    """Return the folder of the files: that of the package, else that of the checkout."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "config"
    return inside if inside.is_dir() else package.parent / "config"


def shipped_files() -> Iterator[Path]:
    """Yield the files of the set, relative to `shipped_root`."""
    root = shipped_root()
    yield from (Path(name) for name in FILES)
    for folder in FOLDERS:
        yield from sorted(path.relative_to(root) for path in (root / folder).rglob("*.yaml"))


def shipped_experiments() -> list[str]:
    """Return the names by which commands know the experiments: `smoke_test`, `studies/workers`, ..."""
    return [path.with_suffix("").as_posix() for path in shipped_files() if path.parts[0] not in GROUPS]


def experiment_file(given: Path) -> Path:
    """Return the file that a command was given: its path, or the name of a shipped experiment.

    Raises:
        InvalidArgumentError: There is neither; with the nearest names. What has a suffix is a path, which its
            reader refuses.
    """
    if given.suffix or given.is_absolute() or given.is_file():
        return given
    names = shipped_experiments()
    if given.as_posix() in names:
        return shipped_root() / f"{given.as_posix()}.yaml"
    if given.exists():  # a folder
        return given
    rule = "must be a file, or the name of a shipped experiment"
    raise unknown_name("FILE", str(given), names, rule)


def copy_shipped(folder: Path) -> list[Path]:
    """Copy the set into a folder for editing; return the new files, relative to it.

    Raises:
        InvalidArgumentError: A file of the set is there already; then nothing is written.
        OSError: The folder cannot be written.
    """
    files = list(shipped_files())
    free = folder.is_dir() or not (folder.exists() or folder.is_symlink())
    require(free, "DIR", "must be a folder, or absent", str(folder), "choose another")
    taken = [path.as_posix() for path in files if (folder / path).exists() or (folder / path).is_symlink()]
    rule = f"must hold no file that would be written over (it has {abridged(taken, 3)})"
    require(not taken, "DIR", rule, str(folder), "choose another folder, or move them")
    root = shipped_root()
    for path in files:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:  # one that appeared meanwhile stays as it is
            file.write((root / path).read_bytes())
    return files
