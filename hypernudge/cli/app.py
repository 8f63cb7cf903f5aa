"""The `hypernudge` command: init, plan, run, simulate, report, compare, import, prior, explain and more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from hypernudge import console
from hypernudge.cli.extras import check_extra, explained
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.running.interruption import orderly

# All that takes long to import is imported where Ctrl-C is already listened to.


@console.forgiving()
def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 130 after Ctrl-C, 143 after SIGTERM."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # One variation by itself is not for people: it keeps its own parser.
    if given[:1] == ["train"]:
        return orderly(partial(_train, given[1:]))
    return orderly(partial(_main, given), "the same command goes on" if given[:1] == ["run"] else "")


def _train(given: list[str]) -> int:
    from hypernudge.harness.running import train

    return train.main(given, "hypernudge train")


def _main(given: list[str]) -> int:
    parser = _parser()
    options, overrides = parse_with_overrides(parser, given)
    if overrides and not hasattr(options, "overrides"):
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    options.overrides = overrides
    try:
        if options.extra is not None:
            check_extra(options.command, options.extra)
        return int(options.run(options))
    except (InvalidArgumentError, OSError) as error:
        return console.refuse(error)
    except ModuleNotFoundError as error:
        lacking = explained(options.command, error)
        if lacking is None:  # a defect of ours
            raise
        return console.refuse(lacking)


def _parser() -> argparse.ArgumentParser:
    from hypernudge.cli import dash, evidence, experiment, inspection

    parser = argparse.ArgumentParser(prog="hypernudge", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.set_defaults(extra=None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for group in (experiment, evidence, inspection, dash):
        group.add_commands(commands)
    return parser


class _Version(argparse.Action):
    """Prints the version; looking it up takes too long for every command."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import hypernudge

        sys.stdout.write(f"hypernudge {hypernudge.__version__}\n")
        parser.exit()


def parse_with_overrides(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, list[str]]:
    """Parse a command line whose `KEY=VALUE` and `~KEY` overrides may stand anywhere among its options.

    `argparse` cannot: once it has met an option it takes a list of positional arguments for finished.
    """
    options, rest = parser.parse_known_args(arguments)
    stray = [a for a in rest if a.startswith("-") or ("=" not in a and not a.startswith("~"))]
    if stray:
        form = "overrides have the form KEY=VALUE, or ~KEY to remove one"
        parser.error(f"unrecognized arguments: {' '.join(stray)}; {form}")
    return options, rest
