"""A connection to a cluster of Ray: to one that runs, or one of this process, started and stopped.

That of this process listens on loopback only, has no dashboard, reports nothing, and leaves no file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, one_line, package, require
from hypernudge.results.files import lock, remove_unheld

PATIENCE = 10  # seconds that an address has to answer
QUIET = {
    "RAY_AUTH_MODE": "disabled",  # nobody else can reach what listens on loopback
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # which keeps it on loopback
}
OFF = (
    "ENABLE_RAY_CLUSTER",
    # Under `uv run` Ray packs the working directory, and each of its processes installs an environment of
    # its own from it: on this machine the one that is there serves.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV",
)
_FOLDER, _LOCK = "hypernudge-ray-", "driver.lock"
SOCKET = (
    "session_2026-01-31_23-59-59_123456_1234567/sockets/plasma_store"  # Ray's own names, at their longest
)
_LONGEST = 103 - len(f"/{_FOLDER}12345678/{SOCKET}")  # macOS takes paths of sockets no longer, Linux 107


def check_address(argument: str, address: object) -> None:
    """Refuse what is no address of a cluster.

    Raises:
        InvalidArgumentError: With the argument's name.
    """
    known = isinstance(address, str) and (address == "auto" or _parts(address) is not None)
    rule, remedy = "must be 'auto' or 'host:port'", "leave it out to start a cluster here"
    require(address is None or known, argument, rule, address, remedy)


@contextlib.contextmanager
def connected(address: str | None, argument: str, purpose: str, **options: Any) -> Iterator[Any]:
    """Yield Ray, connected; what was started for it is stopped at the end.

    Args:
        address: Of a cluster that runs, `"host:port"`, or `"auto"` for the one of this machine; a new one
            where absent.
        argument: Its name, for errors.
        purpose: What Ray is needed for, for errors.
        **options: Of `ray.init`.

    Raises:
        InvalidArgumentError: If it does not answer, or cannot be started.
        MissingExtraError: If Ray is not installed.
    """
    ray = package("ray", "ray", purpose)
    given = {"log_to_driver": False, "logging_level": logging.ERROR, **options}
    with contextlib.ExitStack() as stack:
        if address is None:
            folder = stack.enter_context(_own_folder())
            stack.enter_context(_quiet(ray))
            given |= {"address": "local", "include_dashboard": False, "_temp_dir": str(folder)}
            given |= {"_node_ip_address": "127.0.0.1"}
        else:
            given["address"] = answering(address, argument)
        try:
            ray.init(**given)
        except Exception as error:  # a bare one where its node does not start within 30 s
            ray.shutdown()
            raise _no_answer(argument, address, one_line(error)) from error
        stack.callback(ray.shutdown)
        yield ray


def answering(address: str, argument: str) -> str:
    """Return the address of a cluster, once something there takes a connection.

    Raises:
        InvalidArgumentError: If nothing does.
    """
    found = address
    if address == "auto":
        ray = package("ray", "ray", "address: auto")
        with contextlib.suppress(ConnectionError):
            found = ray._private.services.get_ray_address_from_environment("auto", None) or ""
    parts = _parts(found.removeprefix("ray://"))
    if parts is None:
        raise _no_answer(argument, address, "no cluster is known here")
    try:
        socket.create_connection(parts, PATIENCE).close()
    except OSError as error:
        raise _no_answer(argument, address, one_line(error.strerror or error)) from None
    return found


def _no_answer(argument: str, address: str | None, reason: str) -> InvalidArgumentError:
    if address is None:
        return InvalidArgumentError(
            f"{argument}: Ray must start on this machine, but does not ({reason}); give the address of a "
            "cluster that runs"
        )
    return InvalidArgumentError(
        f"{argument}: must be a cluster of Ray that answers within {PATIENCE} s, but {address} does not "
        f"({reason}); start it with `ray start --head`, or leave the address out to use this machine"
    )


def _parts(address: str) -> tuple[str, int] | None:
    host, colon, port = address.rpartition(":")
    known = colon and host and "/" not in host and port.isdecimal() and 0 < int(port) < 65536
    return (host.strip("[]"), int(port)) if known else None


@contextlib.contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Have Ray keep to itself while it starts its processes."""
    added = {name: value for name, value in QUIET.items() if name not in os.environ}
    os.environ.update(added)
    constants: Any = ray._private.ray_constants  # which were read when Ray was imported
    before = {name: getattr(constants, name) for name in OFF if hasattr(constants, name)}
    for name in before:
        setattr(constants, name, False)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(constants, name, value)
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """Yield a folder for a cluster's files; those of drivers that were killed are removed."""
    usual = tempfile.gettempdir()
    place = Path(usual if len(usual) <= _LONGEST or os.name == "nt" else "/tmp")
    for old in place.glob(f"{_FOLDER}*"):
        if remove_unheld(old / _LOCK):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=place))
    try:
        with lock(folder / _LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
