"""Networks that learn what they are known to learn, trained through `ModuleTask`.

    python -m benchmarks.learning tiny_shakespeare|resnet20|wikitext2 --json --output FILE
    python -m benchmarks.learning figure RESULT... --output FILE.svg

Data are looked for in $HYPERNUDGE_DATA. Checkpoints and the curve so far lie in `--work` (beside the result,
if absent): a run that is killed goes on from there when it is started again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import torch

from benchmarks.learning import resnet20, tiny_shakespeare, wikitext2
from hypernudge.errors import InvalidArgumentError
from hypernudge.results.files import write_text

RUNS: dict[str, Any] = {
    "tiny_shakespeare": tiny_shakespeare,
    "resnet20": resnet20,
    "wikitext2": wikitext2,
}


def main(argv: list[str] | None = None) -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in RUNS.items():
        command = commands.add_parser(
            name,
            help=module.__doc__.splitlines()[0],
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_settings(command, module.Settings)
        command.add_argument(
            "--json", action="store_true", help="a line of JSON for every unit, and the result"
        )
        command.add_argument("--output", type=Path, required=True, help="file for the result (JSON)")
        command.add_argument("--work", type=Path, help="folder of checkpoints (OUTPUT without suffix, .work)")
        command.add_argument("--threads", type=int, help="of PyTorch (as it chooses)")
    command = commands.add_parser("figure", help="draw the curves of results")
    command.add_argument("results", nargs="+", type=Path, help="files that the others have written")
    command.add_argument("--output", type=Path, required=True, help="file for the figure (.svg, .pdf)")
    options = parser.parse_args(argv)
    if options.command == "figure":
        return _draw(options, parser)
    try:
        return _run(RUNS[options.command], options)
    except InvalidArgumentError as error:
        parser.error(str(error))


def _draw(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from benchmarks.learning import figure

    if options.output.suffix not in (".svg", ".pdf"):
        parser.error(f"output: must end in .svg or .pdf, but got {str(options.output)!r}; name it so")
    try:
        results = [json.loads(path.read_text()) for path in options.results]
        unknown = [result["benchmark"] for result in results if result["benchmark"] not in figure.PANELS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"results: must be files of this benchmark, but {error!r}; run it first")
    if unknown:
        parser.error(f"results: must be of {list(figure.PANELS)}, but got {unknown}; leave them out")
    figure.write(results, options.output)
    return 0


def _run(module: Any, options: argparse.Namespace) -> int:
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = module.Settings(
        **{field.name: getattr(options, field.name) for field in fields(module.Settings)}
    )
    result = module.run(settings, options.work or options.output.with_suffix(".work"), _shown(options.json))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.output, json.dumps(result, indent=1) + "\n")
    short = {key: value for key, value in result.items() if key != "curve"}
    print(json.dumps(short) if options.json else "\n".join(f"{key}: {value}" for key, value in short.items()))
    return 0


def _shown(as_json: bool) -> Callable[[dict[str, Any]], None]:
    def show(row: dict[str, Any]) -> None:
        said = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        print(json.dumps(said) if as_json else "  ".join(f"{k} {v}" for k, v in said.items()), flush=True)

    return show


def _add_settings(command: argparse.ArgumentParser, settings: type) -> None:
    """Add an option for every field of a settings class, with its default and its line of the docstring."""
    hints = get_type_hints(settings)
    said = _attributes(settings.__doc__ or "")
    for field in fields(settings):
        kind = next(
            part for part in (int, float, str) if part in (hints[field.name], *_members(hints[field.name]))
        )
        told = f"{said[field.name]} ({field.default})"
        command.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default, help=told)


def _members(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__args__", ())


def _attributes(docstring: str) -> dict[str, str]:
    lines = [line.strip() for line in docstring.partition("Attributes:")[2].splitlines()]
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines) if text}


if __name__ == "__main__":
    sys.exit(main())
