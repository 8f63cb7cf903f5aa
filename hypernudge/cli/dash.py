"""The command of the live page: dash. A parser only; the work is imported when it is asked for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hypernudge.cli.extras import check_extra
from hypernudge.errors import require
from hypernudge.results.reading import check_output


def add_commands(commands: Any) -> None:
    """Add the parser to the sub-commands of `hypernudge`."""
    dash = commands.add_parser(
        "dash", help="a page of studies and experiments in a browser, live or as a file"
    )
    dash.add_argument(
        "folder", type=Path, metavar="DIR", help="studies, results, or a folder of both; only read"
    )
    dash.add_argument("--export", type=Path, metavar="FILE", help="write one HTML file that needs no server")
    dash.add_argument("--host", default="127.0.0.1", help="address to serve at (default: this machine alone)")
    dash.add_argument("--port", type=int, help="0 for any that is free (default: 8787, or one that is free)")
    dash.add_argument("--open", action="store_true", help="open the page in a browser")
    dash.set_defaults(run=_dash, extra="dash")


def _dash(options: argparse.Namespace) -> int:
    check_extra(options.command, "harness")  # scores are drawn by the rules of its pictures
    from hypernudge.dash.content import export
    from hypernudge.dash.server import serve
    from hypernudge.results.printable import counted

    if options.export is not None:
        html = options.export.suffix.lower() in (".html", ".htm")
        require(html, "--export", "must end in .html", str(options.export), "page.html, say")
        count = export(options.folder, check_output(options.export, options.folder))
        sys.stderr.write(f"page of {counted(count, 'study or experiment')}: {options.export}\n")
        return 0

    def ready(address: str) -> None:
        sys.stderr.write(f"page: {address} (Ctrl-C ends it)\n")
        sys.stderr.flush()
        if options.open:
            import webbrowser

            webbrowser.open(address)

    serve(options.folder, options.host, options.port, ready)
    return 0
