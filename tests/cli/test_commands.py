"""Every group's commands answer, and saying what they take loads nothing heavy."""

import subprocess
import sys

import pytest

from hypernudge.cli import dash, evidence, experiment, inspection, main

GROUPS = {
    experiment: ("init", "run", "derive", "plan", "pilot", "status", "cancel"),
    evidence: ("report", "compare", "import", "export"),
    inspection: ("prior", "explain", "doctor", "plot", "simulate"),
    dash: ("dash",),
}
COMMANDS = [command for commands in GROUPS.values() for command in commands]


class Names:
    """Stands for the sub-parsers: collects what is added."""

    def __init__(self, parser):
        self.parser, self.added = parser, []

    def add_parser(self, name, **options):
        self.added.append(name)
        return self.parser.add_parser(name, **options)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__.rsplit(".", 1)[-1])
def test_a_group_adds_its_commands(group):
    import argparse

    names = Names(argparse.ArgumentParser().add_subparsers())
    group.add_commands(names)
    assert tuple(names.added) == GROUPS[group]


@pytest.mark.parametrize("command", [*COMMANDS, "replay", "train"])
def test_every_command_says_what_it_takes(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    present = {"replay": "simulate"}.get(command, command)
    assert capsys.readouterr().out.startswith(f"usage: hypernudge {present}")


def test_the_package_can_be_run_as_a_module():
    """Where the folder of scripts is not on the path; exit codes are the command's."""
    for arguments, code in ((["--version"], 0), (["status", "no-such-folder"], 2)):
        command = [sys.executable, "-m", "hypernudge", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert done.stdout.startswith("hypernudge ") if code == 0 else done.stderr.startswith("error: ")


def test_help_loads_nothing_heavy():
    code = (
        "import contextlib, sys; from hypernudge.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['report', '--help'])\n"
        "sys.exit(sorted({'torch', 'pandas', 'matplotlib', 'omegaconf'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_and_its_verdicts_wait_for_no_pandas():
    """The evaluation, another process, reads the records; who shows what it found reads one file."""
    code = (
        "import sys, hypernudge.harness.running.run, hypernudge.evidence.report.text\n"
        "sys.exit(sorted({'torch', 'pandas', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_that_of_the_installed_package(capsys):
    from importlib.metadata import version

    import hypernudge

    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"hypernudge {version('hypernudge')}\n"
    assert hypernudge.__version__ == version("hypernudge") and "__version__" in dir(hypernudge)


def test_a_version_costs_nothing_until_it_is_asked_for():
    code = "import sys, hypernudge; sys.exit('importlib.metadata' in sys.modules)"
    assert subprocess.run([sys.executable, "-S", "-c", code], check=False).returncode == 0


def test_a_word_that_no_command_takes_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["report", "somewhere", "key=value"])
    assert "unrecognized arguments: key=value" in capsys.readouterr().err
