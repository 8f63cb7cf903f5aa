"""Commands on terminals that lack letters, and in pipes whose reader leaves."""

import os
import subprocess
import sys

import pytest

from hypernudge.harness.running.children import Command
from tests.evidence.long_tables import results


def command(*arguments, program=("-m", "hypernudge.cli"), **environment):
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="module")
def greek(tmp_path_factory):
    path = tmp_path_factory.mktemp("greek") / "runs.csv"
    frame = results(seeds=8).replace({"digits": "ψηφία", "mine": "μέθοδος"})
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("encoding", ["cp1252:strict", "ascii"])
def test_a_verdict_stands_on_a_terminal_without_its_letters(greek, encoding):
    given = ("compare", greek, "--baseline", "asha", "--target", "0.9")
    ended = command(*given, PYTHONIOENCODING=encoding)
    assert ended.returncode == 0, ended.stderr
    assert "μέθοδος".encode("ascii", "backslashreplace") + b" against asha" in ended.stdout
    assert "μέθοδος against asha".encode() in command(*given, PYTHONIOENCODING="utf-8").stdout


def test_errors_need_no_letters_either(greek):
    ended = command("compare", greek, "--baseline", "ψ", "--target", "1", PYTHONIOENCODING="ascii")
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"error: --baseline")
    assert ended.stderr.count(b"\n") == 1


def test_a_filled_template_is_never_written_in_escapes(tmp_path):
    template = tmp_path / "template.yaml"
    template.write_text("# ψηφία\nname: SPECIFIC_CONFIG_PLACEHOLDER\n", encoding="utf-8")
    given = ("derive", template, "--set", "SPECIFIC_CONFIG_PLACEHOLDER=μ")
    ended = command(*given, PYTHONIOENCODING="ascii")
    assert ended.returncode == 2
    assert b"name a file" in ended.stderr
    assert ended.stdout == b""
    assert command(*given, "--output", tmp_path / "filled.yaml", PYTHONIOENCODING="ascii").returncode == 0
    assert "ψηφία\nname: μ" in (tmp_path / "filled.yaml").read_text(encoding="utf-8")


def piped(*arguments, program=("-m", "hypernudge.cli")):
    """Run a command into a reader that leaves after one line; return (exit code, stderr)."""
    writer = subprocess.Popen(
        [sys.executable, "-X", "dev", *program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.close()  # nobody reads, from the first byte on
        error = writer.stderr.read()
    return writer.returncode, error


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_reader_that_leaves_ends_no_work(greek, tmp_path, more):
    figures = tmp_path / "figures"
    given = ("compare", greek, "--baseline", "asha", "--target", "0.9", "--figures", figures, *more)
    assert piped(*given) == (0, b"")
    assert len(list(figures.glob("*.pdf"))) > 5


@pytest.mark.slow
def test_every_command_may_be_cut_short():
    for program in ("hypernudge.cli", "src.main", "src.train", "src.evaluate", "hypernudge.experiments"):
        given = ("cifar100", "--help") if program.endswith("experiments") else ("--help",)
        assert piped(*given, program=("-m", program)) == (0, b""), program


@pytest.mark.skipif(sys.platform == "win32", reason="closes descriptors as a shell does")
def test_closed_standard_streams_are_no_error(greek):
    given = ["compare", str(greek), "--baseline", "asha", "--target", "0.9"]
    shell = 'exec "$@" >&- 2>&-'
    words = ["sh", "-c", shell, "sh", sys.executable, "-m", "hypernudge.cli", *given]
    assert subprocess.run(words, check=False).returncode == 0


def test_what_passes_between_processes_is_utf8_whatever_the_terminal(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252:strict")
    code = "import sys; print('ψηφία é'); sys.stdout.flush(); sys.stdout.buffer.write(bytes([255]))"
    with Command([sys.executable, "-c", code]) as child:
        assert child.stdout.read() == "ψηφία é\n\\xff"
        assert child.wait() == 0
