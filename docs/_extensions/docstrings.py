"""Turns the docstrings of this project, Google's sections and indented examples, into reStructuredText."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from docutils import nodes
from sphinx import addnodes

_SECTION = re.compile(r"(Args|Arguments|Attributes|Returns|Yields|Raises|Example|Examples|Note)\b.*:$")


def literal_blocks(lines: list[str]) -> list[str]:
    """Mark what is indented after a line that ends with a colon and an empty one as a literal block."""
    found = list(lines)
    for place in range(len(lines) - 2):
        line, after = lines[place], lines[place + 2]
        if not line.rstrip().endswith(":") or lines[place + 1].strip() or not after.strip():
            continue
        deeper = len(after) - len(after.lstrip()) > len(line) - len(line.lstrip())
        if deeper and not _SECTION.match(line.strip()):
            found[place] = line.rstrip() + ":"
    return found


def sections(lines: list[str]) -> list[str]:
    """Give `Args, besides those of Other:` the heading that Napoleon knows."""
    found: list[str] = []
    for line in lines:
        special = re.fullmatch(r"Args, (besides .*):", line.strip())
        if special:
            found += [f"Further arguments, {special[1]}.", "", "Args:"]
        else:
            found.append(line)
    return found


@cache
def public() -> dict[str, str]:
    """Return where each public name is documented."""
    import hypernudge
    from hypernudge import episodes

    of_episodes = (name for name in vars(episodes) if name[0].isupper())
    return {
        **{name: f"hypernudge.episodes.{name}" for name in of_episodes},
        **{name: f"hypernudge.{name}" for name in hypernudge.__all__},
    }


def name_role(
    role: str, raw: str, text: str, line: int, inliner: Any, options: Any = None, content: Any = None
) -> Any:
    """Show what stands between single backticks as code; a public name leads to its entry."""
    del role, line, options, content
    first, _, rest = text.removesuffix("()").partition(".")
    literal = nodes.literal(raw, text)
    if first not in public() or not all(part.isidentifier() for part in rest.split(".") if rest):
        return [literal], []
    target = ".".join([public()[first], *([rest] if rest else [])])
    document = inliner.document.settings.env.docname
    options = {"refdomain": "py", "reftype": "obj", "reftarget": target, "refdoc": document}
    return [addnodes.pending_xref(raw, literal, refexplicit=True, refwarn=False, **options)], []


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Change a docstring in place, before Napoleon sees it."""
    del app, what, name, thing, options
    lines[:] = sections(literal_blocks(lines))


def setup(app: Any) -> dict[str, bool]:
    """Register."""
    app.add_role("name", name_role)
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True}
