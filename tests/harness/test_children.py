"""Children of a run: what they say is passed on and kept, whatever becomes of the log or of us."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hypernudge.harness.running.children import Command, run_child
from hypernudge.harness.running.interruption import (
    INTERRUPTED,
    TERMINATED,
    Terminated,
    deaf_children,
    orderly,
)
from hypernudge.harness.running.progress import Progress
from tests.harness.tools import wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


def python(code):
    return lambda: Command([sys.executable, "-c", code])


def test_streams_are_kept_apart_and_the_exit_code_is_the_child_s(tmp_path, capsys):
    code = "import sys; print('out é'); sys.stderr.write('err\\n'); sys.exit(3)"
    assert run_child(python(code), tmp_path / "new", Progress(0)) == 3
    assert (tmp_path / "new" / "stdout.log").read_text("utf-8") == "out é\n"
    assert (tmp_path / "new" / "stderr.log").read_text("utf-8") == "err\n"
    assert capsys.readouterr().out == "out é\n"


def test_a_log_that_cannot_be_written_stops_no_child(tmp_path, capsys):
    (tmp_path / "stdout.log").mkdir()
    code = "for line in range(20_000): print('x' * 40)"  # far more than a pipe holds
    assert run_child(python(code), tmp_path, Progress(0)) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 20_000 and "the output is not kept" in captured.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_nor_does_a_full_disk(tmp_path, capsys):
    (tmp_path / "stdout.log").symlink_to("/dev/full")
    assert run_child(python("print(1); print(2)"), tmp_path, Progress(0)) == 0
    captured = capsys.readouterr()
    assert captured.out == "1\n2\n" and captured.err.count("the output is not kept from here on") == 1


@pytest.fixture(autouse=True)
def heard():
    """Python's own way with Ctrl-C: a shell starts what runs in its background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_a_signal_ends_the_child_and_says_one_line(tmp_path, capsys, number, code):
    deaf = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    sys.stderr.write('the child says so too\\n')\n"
        "    raise SystemExit(7)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print(*signal.pthread_sigmask(0, []), flush=True)\n"
        "time.sleep(600)"
    )
    children = []

    def start():
        children.append(Command([sys.executable, "-c", deaf]))
        return children[0]

    def send():
        while not (tmp_path / "stdout.log").is_file() or not (tmp_path / "stdout.log").read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()
    before = signal.getsignal(signal.SIGTERM)
    assert orderly(lambda: run_child(start, tmp_path, Progress(0))) == code
    assert signal.getsignal(signal.SIGTERM) == before
    captured = capsys.readouterr()
    assert captured.err == "interrupted; the same command goes on\n"
    assert captured.out == f"{signal.SIGINT}\n", "the child is deaf to Ctrl-C"
    assert children[0].wait() == 7
    assert (tmp_path / "stderr.log").read_text() == "the child says so too\n", "kept, but not shown"


def test_terminated_is_an_interruption():
    assert issubclass(Terminated, KeyboardInterrupt)


def test_a_signal_that_comes_while_a_child_starts_is_kept():
    with pytest.raises(KeyboardInterrupt):
        with deaf_children():
            os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the signal is lost")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the orphan in /proc")
def test_a_child_ends_with_its_parent_even_if_it_looks_late(tmp_path):
    """The parent is dead before the child asks who it was."""
    child = (
        "import time; time.sleep(1); from hypernudge.harness.running.interruption import die_with_parent;"
        "die_with_parent(); time.sleep(600)"
    )
    parent = (
        "import os, sys; from hypernudge.harness.running.children import Command;"
        f"c = Command([sys.executable, '-c', {child!r}]); print(c.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    if not wait_for(lambda: ended(pid), 60):
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the orphan lives on")


@pytest.mark.parametrize("dies", [False, True])
def test_a_program_between_a_command_and_its_child_ends_nothing(tmp_path, dies):
    """As `uv run` or `nice` may be: the child's parent is not the process that it must end with."""
    (tmp_path / "child.py").write_text(
        "import os, time; from hypernudge.harness.running.interruption import die_with_parent;"
        "die_with_parent(); print(os.getpid(), flush=True); time.sleep(1 if os.environ['STAYS'] else 600)"
    )
    between = (
        f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, {str(tmp_path / 'child.py')!r}]))"
    )
    starter = (
        "import os, sys; from hypernudge.harness.running.children import Command;"
        f"c = Command([sys.executable, '-c', {between!r}]); sys.stdout.write(c.stdout.readline());"
        "sys.stdout.flush(); os._exit(c.wait() if os.environ['STAYS'] else 0)"
    )
    env = {**os.environ, "STAYS": "" if dies else "1"}
    done = subprocess.run(
        [sys.executable, "-c", starter], capture_output=True, text=True, env=env, check=True
    )
    pid = int(done.stdout)
    if not wait_for(lambda: ended(pid), 60):
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the orphan lives on")


def ended(pid):
    """Whether a process is gone, or waits only to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
    except OSError:
        return True
