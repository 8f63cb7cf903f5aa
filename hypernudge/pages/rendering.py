"""Templates filled in: every value is text, nothing of it is markup, and nothing in it cannot be seen."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
from pathlib import Path
from typing import Any

from hypernudge.errors import package
from hypernudge.results.printable import printable

_HERE = Path(__file__).parent


def render(template: str, folder: Path | None = None, **values: Any) -> str:
    """Return a page.

    Args:
        template: Name of a file in `templates`.
        folder: Where further templates lie.
        **values: What it is filled with; text of unknown origin is welcome.

    Raises:
        MissingExtraError: If jinja2 is not installed.
    """
    return str(_environment(folder).get_template(template).render(**values))


@functools.cache
def _environment(folder: Path | None) -> Any:
    jinja2 = package("jinja2", "harness", "page")
    folders = [*([] if folder is None else [folder]), _HERE / "templates"]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
        keep_trailing_newline=True,
    )
    return environment


def _visible(value: Any) -> Any:
    if type(value) is not str:  # markup of ours is a class of its own
        return value
    return value if value.isprintable() else "\n".join(printable(line) for line in value.split("\n"))


def escaped(text: str) -> str:
    """Return text for HTML that we make ourselves: no markup, and nothing that cannot be seen."""
    return html.escape(str(_visible(text)))


def markup(text: str) -> Any:
    """Return HTML that we have made ourselves, which is not escaped again."""
    return package("markupsafe", "harness", "page").Markup(text)


def asset(name: str, folder: Path = _HERE / "assets") -> str:
    """Return the text of a style sheet or a script of ours."""
    return (folder / name).read_text("utf-8")


def source_hash(script: str) -> str:
    """Return what a content security policy calls an inline script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def content_security(*more: str) -> str:
    """Return a policy that loads nothing from anywhere but what `more` allows."""
    fixed = ("default-src 'none'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data: blob:")
    return "; ".join((*fixed, "base-uri 'none'", "form-action 'none'", *more))
