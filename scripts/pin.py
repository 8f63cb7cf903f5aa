"""Rewrite the pins in `pyproject.toml` from a fresh resolution.

A lock file records the address of the package index that was used, so this project ignores it and keeps
the resolved versions as `[tool.uv] constraint-dependencies` instead: a fresh checkout resolves identically.

    python scripts/pin.py            # resolve anew, honouring the ranges only
    python scripts/pin.py --check    # exit 1 if the pins are not what the ranges and pins resolve to
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^constraint-dependencies = \[\n.*?^\]\n", re.MULTILINE | re.DOTALL)
EXPORT = [
    "uv",
    "export",
    "--quiet",
    "--all-extras",
    "--all-groups",
    "--frozen",
    "--no-hashes",
    "--no-header",
    "--no-annotate",
    "--no-emit-project",
    "--no-emit-index-url",
]


def resolve(pyproject: str) -> list[str]:
    """Return the pinned requirement lines that `pyproject` (its text) resolves to."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "pyproject.toml").write_text(pyproject)
        for name in ("README.md", "LICENSE"):
            (project / name).write_text("")
        subprocess.run(["uv", "lock", "--quiet"], cwd=project, check=True)
        lines = subprocess.run(EXPORT, cwd=project, check=True, capture_output=True, text=True).stdout
    return [line for line in lines.splitlines() if line and not line.startswith(("#", "-"))]


def with_pins(pyproject: str, pins: list[str]) -> str:
    """Return `pyproject` with its constraint block replaced by `pins`."""
    body = "".join(f"    '{pin}',\n" if '"' in pin else f'    "{pin}",\n' for pin in pins)
    replaced, count = BLOCK.subn(lambda _: f"constraint-dependencies = [\n{body}]\n", pyproject)
    if count != 1:
        raise SystemExit("pyproject.toml must hold exactly one `constraint-dependencies = [ ... ]` block")
    return replaced


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    arguments = parser.parse_args()
    path = ROOT / "pyproject.toml"
    text = path.read_text()
    # Resolving anew starts from the ranges alone; checking keeps the pins as constraints.
    source = text if arguments.check else with_pins(text, [])
    updated = with_pins(text, resolve(source))
    if arguments.check:
        return 0 if updated == text else 1
    path.write_text(updated)
    return 0


if __name__ == "__main__":
    sys.exit(main())
