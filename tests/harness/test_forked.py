"""Children forked from the server behave as `python -m hypernudge.cli train` would."""

import os
import signal
import sys
from contextlib import closing

import pytest

from hypernudge.harness.running.forked import Forked
from hypernudge.harness.running.launch import FORK_SERVER

pytestmark = pytest.mark.skipif(not FORK_SERVER, reason="this platform has no fork server")


def speak(arguments):
    sys.stdout.write(f"out {' '.join(arguments)}\n")
    sys.stderr.write(f"err {os.getpid()}\n")
    sys.stdout.flush()
    return 3


def give_up(arguments):
    raise RuntimeError("no " + arguments[0])


def die(arguments):
    sys.stdout.write("before\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def leave(arguments):
    sys.exit(2)


def read(child):
    return child.stdout.read(), child.stderr.read(), child.wait()


def test_output_and_exit_code_are_the_child_s_own():
    with closing(Forked(speak, ["a", "b"])) as first, closing(Forked(speak, ["c"])) as second:
        out, err, code = read(first)
        assert (out, code) == ("out a b\n", 3)
        assert err.startswith("err ") and int(err.split()[1]) != os.getpid()
        assert read(second)[0] == "out c\n"


def test_an_exception_is_printed_and_ends_it():
    with closing(Forked(give_up, ["luck"])) as child:
        out, err, code = read(child)
    assert (out, code) == ("", 1) and "RuntimeError: no luck" in err


def test_a_killed_child_keeps_what_it_said_and_has_a_negative_code():
    with closing(Forked(die, [])) as child:
        assert read(child) == ("before\n", "", -signal.SIGKILL)


def test_an_exit_keeps_its_code():
    with closing(Forked(leave, [])) as child:
        assert read(child)[2] == 2
