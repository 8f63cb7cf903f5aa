"""The page over HTTP: read only, for this machine unless another address is asked for."""

from __future__ import annotations

import gzip
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypernudge.dash.content import content_security, page, plotly, script, style
from hypernudge.dash.site import Site
from hypernudge.errors import InvalidArgumentError, package, require

PORT = 8787
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HEADERS = {
    "Content-Security-Policy": content_security("script-src 'self'; connect-src 'self'"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FEW = 2000  # bytes from which an answer is compressed

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def app(site: Site, host: str = "127.0.0.1") -> Any:
    """Return the application.

    Args:
        site: What is shown.
        host: Where it is served; requests for other names are refused.

    Raises:
        MissingExtraError: If Starlette is not installed.
    """
    applications = package("starlette.applications", "dash", "dash")
    responses = package("starlette.responses", "dash", "dash")
    routing = package("starlette.routing", "dash", "dash")
    files = {
        "page.css": ("text/css", style().encode()),
        "dash.js": ("text/javascript", script().encode()),
        "plotly.js": ("text/javascript", plotly().encode()),
    }
    packed = {name: (kind, gzip.compress(content, 6)) for name, (kind, content) in files.items()}

    def answer(request: Any, content: bytes, kind: str, *, compressed: bytes | None = None) -> Any:
        headers = dict(_HEADERS)
        if "gzip" in request.headers.get("accept-encoding", "") and len(content) > _FEW:
            content = gzip.compress(content, 1) if compressed is None else compressed
            headers["Content-Encoding"] = "gzip"
        return responses.Response(content, media_type=kind, headers=headers)

    def home(request: Any) -> Any:
        return answer(request, page().encode(), "text/html")

    def asset(request: Any) -> Any:
        name = request.path_params["name"]
        if name not in files:
            return responses.Response("no such file", 404, _HEADERS)
        kind, content = files[name]
        return answer(request, content, kind, compressed=packed[name][1])

    def data(request: Any) -> Any:
        found = site.page(request.query_params.getlist("of"))
        if found is None:
            return responses.Response('{"error":"there is no such page"}', 404, _HEADERS, "application/json")
        fresh = found.data(request.query_params.get("since", ""))
        if fresh is None:
            return responses.Response(None, 204, _HEADERS)
        return answer(request, json.dumps(fresh, allow_nan=False).encode(), "application/json")

    route = routing.Route
    routes = [route("/", home), route("/assets/{name}", asset), route("/data", data)]
    return _only_for(host, applications.Starlette(routes=routes), responses)


def _only_for(host: str, inner: Any, responses: Any) -> Any:
    """Refuse requests for a name that is not ours: a page of a stranger may have made it lead here.

    An address of numbers cannot be made to lead elsewhere.
    """
    names = {*_LOCAL, host.lower(), socket.gethostname().lower()}

    async def guarded(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [value for name, value in scope["headers"] if name == b"host"]
            asked = host_of(headers[0].decode("latin-1")) if len(headers) == 1 else ""
            if asked not in names and not _is_address(asked):
                answer = responses.Response("this name does not belong to this page\n", 421, _HEADERS)
                await answer(scope, receive, send)
                return
        await inner(scope, receive, send)

    return guarded


def host_of(header: str) -> str:
    """Return the name in a `Host` header, without its port and brackets."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if ":" in name else name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def bound(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens: at `port`, or at the usual one or another where that is taken.

    Raises:
        InvalidArgumentError: If the address cannot be had.
    """
    given = port is None or (0 <= port <= 65535)
    require(given, "--port", "must be in [0, 65535]", port, "leave it out for the usual one")
    tried = (PORT, 0) if port is None else (port,)
    reason = ""
    for number in tried:
        try:
            found = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            listens = socket.socket(family, kind, protocol)
            listens.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listens.bind(address)
                listens.listen(64)
            except OSError:
                listens.close()
                raise
            return listens
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    raise InvalidArgumentError(
        f"--host, --port: must be an address that is free, but {host}:{tried[0]} is not ({reason}); "
        "give another, or leave both out"
    )


def serve(folder: Path, host: str, port: int | None, ready: Callable[[str], None]) -> None:
    """Serve the page until interrupted.

    Args:
        folder: What is shown.
        host: Where.
        port: Where; the usual one, or another where that is taken, if absent.
        ready: Called with the address.

    Raises:
        MissingExtraError: If the extra `dash` is not installed.
        InvalidArgumentError: If there is no such folder, or the address cannot be had.
    """
    uvicorn = package("uvicorn", "dash", "dash")
    application = app(Site(folder), host)
    with bound(host, port) as listens:
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listens.getsockname()[1]}/")
        config = uvicorn.Config(application, log_level="warning", lifespan="off", access_log=False)
        uvicorn.Server(config).run(sockets=[listens])
