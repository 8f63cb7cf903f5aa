"""Run hypernudge commands in this process under an audit hook that allows nothing but reading and its output.

    python guarded.py SETTINGS.json

SETTINGS: `hostile`, a directory from which no code may come; `writable`, paths below which may be written;
`commands`, argument lists of `hypernudge`, or `plant`, Python code that does what is forbidden. Prints one
JSON line per command; a violation ends the process at once with exit code 97.
"""

import contextlib
import importlib
import io
import json
import os
import re
import sys
from pathlib import Path

VIOLATION = 97
PROCESSES = {
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile"),
    *("subprocess.Popen", "pty.spawn", "socket.connect", "pickle.find_class"),
}
# What changes files, and which of its arguments are paths.
CHANGES = {
    **dict.fromkeys(
        ("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "sqlite3.connect"), (0,)
    ),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), (0, 1)),
}
TEMPORARY = re.compile(r"^\.(.+)\.[0-9a-f]{8}$")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install(hostile, writable, own_tree):
    """Install the hook; it cannot be removed."""
    hostile = os.path.realpath(hostile)
    allowed = [os.path.realpath(path) for path in writable]
    real, join, split = os.path.realpath, os.path.join, os.path.split

    def below(path, folders):
        return any(path == folder or path.startswith(folder + os.sep) for folder in folders)

    def place(path):
        """Where a path lies, links on the way followed, but for its end; of a temporary, its goal."""
        folder, name = split(os.fsdecode(path))
        return join(real(folder or "."), TEMPORARY.sub(r"\1", name))

    def end(event, what):
        os.write(2, f"VIOLATION {event}: {what!r}\n".encode())
        os._exit(VIOLATION)

    def hook(event, args):
        if event in PROCESSES:
            # In a checkout, provenance asks git for the commit of our own source tree.
            command = list(args[1]) if event == "subprocess.Popen" else []
            if command[:3] != ["git", "-C", own_tree]:
                end(event, args)
        elif event == "exec":
            name = args[0].co_filename  # "<frozen os>", say, is no file
            if not name.startswith("<") and below(real(name), [hostile]):
                end(event, args[0].co_filename)
        elif event == "open":
            path, mode, flags = args
            writes = bool(flags & WRITING) if mode is None else any(letter in mode for letter in "wax+")
            if not isinstance(path, int) and (writes or flags & WRITING):
                # Opening follows a link at the end, too, unless a file must be new.
                found = place(path) if flags & os.O_EXCL else real(os.fsdecode(path))
                if not below(found, [*allowed, "/dev/null"]):
                    end(event, found)
        elif event in CHANGES:
            for index in CHANGES[event]:
                there = event == "os.mkdir" and Path(args[index]).is_dir()  # refused by the system
                if args[index] != ":memory:" and not there and not below(place(args[index]), allowed):
                    end(event, args)

    sys.addaudithook(hook)


def main():
    settings = json.loads(Path(sys.argv[1]).read_text())
    sys.dont_write_bytecode = True
    if "commands" in settings:  # these start processes when they are imported, whatever is read later
        for library in ("matplotlib.font_manager", "mlflow", "torch"):
            importlib.import_module(library)
    install(settings["hostile"], settings["writable"], settings["own_tree"])
    if "plant" in settings:
        exec(compile(settings["plant"], "<planted>", "exec"), {})
        return
    from hypernudge import cli

    for arguments in settings["commands"]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = cli.main(arguments)
            except SystemExit as stop:
                code = stop.code
        row = {"command": arguments, "code": code, "out": out.getvalue(), "err": err.getvalue()}
        sys.stdout.write(json.dumps(row) + "\n")
    assert not any(
        os.path.realpath(entry) == os.path.realpath(settings["hostile"]) for entry in sys.path if entry
    )


if __name__ == "__main__":
    main()
