"""Print the rooms of the library and which imports which.

    python scripts/import_graph.py          # rooms, lowest first, each with the rooms that it imports
    python scripts/import_graph.py --dot    # the same for Graphviz

The exit code is 1 if an arrow points upwards, or modules import each other in a circle.
A room is a module or a package. Imports inside functions count, and so do names of modules in strings
("hypernudge.schedulers.asha:ASHA"), unless the registry holds them: it imports nothing before it is asked.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "hypernudge"
# A room may import the rooms of its own row and of those above it; the longest prefix names a module's room.
ROWS: tuple[tuple[str, ...], ...] = (
    ("errors", "renamed", "random", "parameters", "space", "flops", "workspace"),
    ("results", "trial", "registry", "optimizers", "task", "batching"),
    ("episodes.checks",),
    ("episodes.context", "episodes.kinds", "episodes.noise", "episodes.ranks", "episodes.rewards"),
    ("episodes.records", "episodes.trained_weights"),
    ("episodes.axes", "episodes.bandits"),
    ("episodes.controllers",),
    ("episodes.lifecycle",),
    ("episodes.scheduler", "episodes.pulseopt"),
    ("hypergradient", "schedulers", "surrogates", "engine", "episodes"),
    ("warmstart",),
    ("study",),
    ("tuner",),
    ("plotting", "pages"),
    ("study.plots", "episodes.plots"),
    ("tasks", "suggestion", "integrations", "schema"),
    ("evidence.statistics",),
    ("evidence.loading",),
    ("evidence.verdicts",),
    ("evidence.figures", "evidence.importers", "evidence.exporters"),
    ("evidence.report", "evidence"),
    ("harness.planning", "harness.slurm", "console"),
    ("harness.cells",),
    ("harness.running", "harness.launchers"),
    ("harness.inspection", "harness"),
    ("dash",),
    ("experiments",),
    ("cli",),
    ("", "__main__"),  # the first is hypernudge/__init__.py
)
NAMED = re.compile(rf"{PACKAGE}(\.\w+)+")
# Strings of these modules are names for later, not imports.
DEFERRED = {"registry", ""}


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Return the file of every module, by its dotted name without the package's."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def room_of(module: str) -> str:
    """Return the room that a module belongs to.

    Raises:
        KeyError: If no room is its own.
    """
    rooms = [room for row in ROWS for room in row]
    fitting = [room for room in rooms if module == room or module.startswith(room + ".")]
    if not fitting:
        raise KeyError(f"{PACKAGE}.{module} stands in no room; add it to ROWS")
    return max(fitting, key=len)


def row_of(room: str) -> int:
    """Return the number of a room's row, the lowest being 0."""
    return next(number for number, row in enumerate(ROWS) if room in row)


def imports(path: Path, known: dict[str, Path], run_time_only: bool = False) -> Iterator[str]:
    """Yield the library's modules that a file imports, wherever in it, or names in a string.

    With `run_time_only`, neither strings count nor what only the type checker imports.
    """
    tree = ast.parse(path.read_text("utf-8"))
    typing: set[ast.AST] = set()
    if run_time_only:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                typing |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in typing:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package import module` imports the module, `from module import name` that module.
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [full if full.removeprefix(f"{PACKAGE}.") in known else node.module for full in inner]
        elif not run_time_only and isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value.split(":")[0]] if NAMED.fullmatch(node.value.split(":")[0]) else []
        else:
            continue
        for name in names:
            short = name.removeprefix(f"{PACKAGE}.")
            if name.startswith(f"{PACKAGE}.") and short in known:
                yield short


def graph() -> dict[str, set[str]]:
    """Return which rooms each room imports, itself left out."""
    known = modules()
    arrows: dict[str, set[str]] = {room: set() for row in ROWS for room in row}
    for module, path in known.items():
        room = room_of(module)
        for other in imports(path, known, run_time_only=module in DEFERRED):
            arrows[room].add(room_of(other))
        arrows[room].discard(room)
    return arrows


def upwards() -> list[str]:
    """Return a line for every import that points to a higher row."""
    known = modules()
    return sorted(
        f"{PACKAGE}.{module} imports {PACKAGE}.{other}"
        for module, path in known.items()
        for other in set(imports(path, known, run_time_only=module in DEFERRED))
        if row_of(room_of(other)) > row_of(room_of(module))
    )


def cycles() -> list[list[str]]:
    """Return the groups of modules that import each other, imports inside functions included."""
    known = modules()
    after = {
        module: set(imports(path, known, run_time_only=True)) - {module} for module, path in known.items()
    }
    # A package's `__init__` names what it offers, which imports the package: that is no cycle of modules.
    packages = {module for module, path in known.items() if path.name == "__init__.py"}
    after = {module: others - packages for module, others in after.items() if module not in packages}
    reach: dict[str, set[str]] = {}
    for module in after:
        seen: set[str] = set()
        waiting = [module]
        while waiting:
            for other in after[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        reach[module] = seen
    groups = {
        tuple(sorted(other for other in reach[module] if module in reach[other]))
        for module in after
        if module in reach[module]
    }
    return [list(group) for group in sorted(groups)]


def main() -> int:
    """Print the graph; return 1 if an arrow points upwards or modules import each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dot", action="store_true", help="write Graphviz instead of text")
    options = parser.parse_args()
    arrows = graph()
    if options.dot:
        lines = [f'  "{room}" -> "{other}";' for room in arrows for other in sorted(arrows[room])]
        sys.stdout.write("digraph rooms {\n  rankdir=BT;\n" + "\n".join(lines) + "\n}\n")
    else:
        for room in (room for row in ROWS for room in row if room):
            sys.stdout.write(f"{room:<22}{', '.join(sorted(arrows[room] - {''})) or '-'}\n")
    wrong = upwards()
    for line in wrong:
        sys.stderr.write(f"upwards: {line}\n")
    circles = cycles()
    for group in circles:
        sys.stderr.write(f"cycle: {', '.join(group)}\n")
    return 1 if wrong or circles else 0


if __name__ == "__main__":
    sys.exit(main())
