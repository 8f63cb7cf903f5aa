"""The page itself: for the server, and as one file that needs none."""

from __future__ import annotations

import base64
import functools
import gzip
import json
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from hypernudge.dash.site import Site
from hypernudge.errors import package
from hypernudge.pages.rendering import asset, content_security, markup, render, source_hash
from hypernudge.results.files import write_text

__all__ = ["content_security", "export", "page", "plotly", "script", "style"]

_HERE = Path(__file__).parent


def style() -> str:
    """Return the style sheet."""
    return asset("page.css") + asset("dash.css", _HERE / "assets")


def script() -> str:
    """Return the script of the page."""
    return "".join(asset(name, _HERE / "assets") for name in ("table.js", "charts.js", "dash.js"))


@functools.cache
def plotly() -> str:
    """Return Plotly's own JavaScript, as its package ships it.

    Raises:
        MissingExtraError: If plotly is not installed.
    """
    package("plotly", "dash", "dash")
    return (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")


def page() -> str:
    """Return the page that asks a server for what it shows."""
    return render("dash.html", _HERE / "templates", live=True, policy="")


def export(folder: Path, path: Path) -> int:
    """Write what a folder holds as one file that opens without a server and without a network.

    Args:
        folder: With studies or results.
        path: The HTML file, replaced if it exists.

    Returns:
        How many studies and experiments are in it.

    Raises:
        MissingExtraError: If the extra `dash` is not installed.
        InvalidArgumentError: If there is no such folder.
        OSError: If the file cannot be written.
    """
    pages = Site(folder).exported()
    packed = base64.b64encode(gzip.compress(plotly().encode(), 9, mtime=0)).decode()
    own = script()
    write_text(
        path,
        render(
            "dash.html",
            _HERE / "templates",
            live=False,
            policy=content_security(f"script-src {source_hash(own)} blob:"),
            style=markup(style()),
            script=markup(own),
            plotly=markup(packed),
            data=markup(_within_page(pages)),
            taken=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
    return len(pages) - 1


def _within_page(data: Any) -> str:
    """Return JSON that ends no element of the page it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
