"""Write `docs/configuration.md` from the schema of the experiment file and the registered components.

python scripts/configuration.py            # write the page
python scripts/configuration.py --check    # exit 1 if the page is not current
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypernudge.evidence.loading.plan import Criteria
from hypernudge.harness.planning import experiment_schema as experiment
from hypernudge.harness.planning.engines import SUPPLIED as ENGINE_SUPPLIED
from hypernudge.harness.planning.launchers import LAUNCHERS
from hypernudge.harness.planning.resolve import DEFAULTS
from hypernudge.harness.planning.yaml_text import MAX_BYTES, MAX_DEPTH, MAX_NODES
from hypernudge.registry import ALIASES, REGISTRY, resolve
from hypernudge.results.names import LONGEST
from hypernudge.schema import described
from hypernudge.tasks.spaces import SPACES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
SUPPLIED = (*ENGINE_SUPPLIED, "shape", "classes")
PICTURES = ("picture", "episodes_picture")  # are named on the command line and in Python, not in a file
LAUNCHER = {name: value for options in LAUNCHERS.values() for name, value in options.items()}
HEAD = f"""# The experiment file, key by key

Written by `python scripts/configuration.py` from the schema that every command checks a file against
(`hypernudge/harness/planning/experiment_schema.py`); edit that, not this page. [Experiments](experiments.md)
shows how the keys are used.

- Unknown keys are refused everywhere, with the nearest known name. Booleans are no numbers, `1.5` and `2.0`
  are no whole numbers, NaN and infinities are refused.
- A file is UTF-8 of at most {MAX_BYTES:,} bytes, nested at most {MAX_DEPTH} deep, of at most {MAX_NODES:,}
  values once aliases are filled in.
- A run id is a file name of at most {LONGEST} letters, digits and `._+-`, and none that a results directory
  uses itself; two of them differ by more than case.
- Everything that a plan names is built once, and refused if it cannot be, before anything is written. So is
  a hyper-parameter that neither the loss nor the optimizer of a built-in task reads; what a task of your
  own reads, nobody else can know.
"""


def page() -> str:
    """Return the text of the page."""
    lines = [HEAD, "## Keys", ""]
    properties = experiment.EXPERIMENT["properties"]
    lines += [*_table(properties, {}), ""]
    lines += ["## A variation", "", "Keys of `common` and of every entry of `variations`.", ""]
    lines += [*_table(experiment.VARIATION, {**DEFAULTS, "space": "mid"}), ""]
    for name, schema in (("budget", experiment.BUDGET), ("seeds", experiment.SEEDS)):
        lines += [f"`{name}:`", "", *_table(schema["properties"], {}), ""]
    lines += ["A component (task, model, scheduler, warm_start, engine) is a name, or a mapping of", ""]
    lines += [*_table(experiment.VARIATION["scheduler"]["properties"], {}), ""]
    lines += ["and its own options, [below](#components). A task may also hold", ""]
    of_task = {k: v for k, v in experiment.TASK["properties"].items() if k not in ("name", "label")}
    lines += [*_table(of_task, {}), ""]
    lines += [
        f"A space is one of {', '.join(f'`{name}`' for name in SPACES)}, or a mapping from names to",
        "",
    ]
    lines += [*_table(experiment.PARAMETER["properties"], {}), ""]
    lines += ["## Grids", "", *_table(experiment.GRID["properties"], {}), ""]
    lines += ["## Evidence", ""]
    defaults = {name: getattr(Criteria(), name) for name in properties["evidence"]["properties"]}
    lines += [*_table(properties["evidence"]["properties"], defaults), ""]
    lines += ["## Launcher", "", *_table(properties["launcher"]["properties"], LAUNCHER), ""]
    lines += ["## Components", "", "Registered names with their options and defaults.", ""]
    lines += list(_components())
    return "\n".join(lines).rstrip() + "\n"


def _table(properties: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, schema in properties.items():
        default = f"`{_shown(defaults[name])}`" if name in defaults else ""
        yield f"| `{name}` | {described(schema)} | {default} | {schema.get('description', '')} |"


def _shown(value: object) -> str:
    return "[]" if value == () else str(value)


def _components() -> Iterator[str]:
    for kind in (kind for kind in REGISTRY if kind not in PICTURES):
        yield f"**{kind}**"
        yield ""
        for name in REGISTRY[kind]:
            parameters = inspect.signature(resolve(kind, name)).parameters.values()
            options = [
                p.name if p.default is p.empty else f"{p.name}={_default(p.default)}"
                for p in parameters
                if p.name not in SUPPLIED and not (kind == "scheduler" and p.name == "space")
            ]
            second = "".join(f" or `{a}`" for a, of in ALIASES.get(kind, {}).items() if of == name)
            yield f"- `{name}`{second}" + (f": `{', '.join(options)}`" if options else "")
        yield ""


def _default(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    # What a factory makes has no repr that means something to a reader.
    return "{}" if type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS" else repr(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or say whether it is current; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page is not current"
    )
    options = parser.parse_args(arguments)
    text = page()
    if options.check:
        current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        if not current:
            sys.stderr.write("docs/configuration.md is not current; run python scripts/configuration.py\n")
        return 0 if current else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
