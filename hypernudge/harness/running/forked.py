"""Variations of a long study as processes forked from one server: a start costs milliseconds, not seconds.

The server has imported PyTorch and the harness once (`launch.start_server`). A child is what
`python -m hypernudge.cli train ...` would be: its own process, with its own standard output and error.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import IO, Any

from hypernudge.harness.running import children, launch
from hypernudge.harness.running.interruption import deaf_children


class Forked:
    """A running `hypernudge.harness.running.children.Child` whose main function is called, not executed.

    Args:
        main: Called with the arguments in the child; an importable function that returns an exit code.
        arguments: Command line without the program.
    """

    def __init__(self, main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> None:
        launch.start_server()
        context: Any = mp.get_context("forkserver")
        (out, out_in), (err, err_in) = context.Pipe(duplex=False), context.Pipe(duplex=False)
        self._process = context.Process(target=_child, args=(main, list(arguments), out_in, err_in))
        with deaf_children():
            self._process.start()
        self.stdout, self.stderr = _reader(out), _reader(err)
        out_in.close()  # else the readers would never see its end
        err_in.close()

    def wait(self) -> int:
        """Return the exit code once the child has ended; negative if a signal ended it."""
        self._process.join()
        return int(self._process.exitcode)

    def stop(self) -> None:
        """End it, first asking."""
        self._process.terminate()
        self._process.join(children.PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def close(self) -> None:
        """Release what it held; it has ended."""
        self.stdout.close()
        self.stderr.close()


def _reader(connection: Connection) -> IO[str]:
    reader = os.fdopen(os.dup(connection.fileno()), encoding="utf-8", errors="replace")
    connection.close()
    return reader


def _child(
    main: Callable[[Sequence[str]], int], arguments: Sequence[str], out: Connection, err: Connection
) -> None:
    for connection, standard in ((out, 1), (err, 2)):
        os.dup2(connection.fileno(), standard)
        connection.close()
    # Those of the server have its terminal's encoding; whoever reads these takes them for UTF-8.
    form: Any = {"buffering": 1, "encoding": "utf-8", "errors": "backslashreplace", "closefd": False}
    sys.stdout, sys.stderr = os.fdopen(1, "w", **form), os.fdopen(2, "w", **form)
    launch.fork_workers_here()
    code = 1
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    launch.leave(code)
