"""Links that leave the site, to files of the repository, become paths as text; so does `{repo}`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(((?:\.\./|[\w.-]+/)*[\w.-]+)(#[\w-]+)?\)")
_FILES = {"security": "SECURITY.md", "changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
"""Pages that are a file of the repository."""
_PAGES = {file: page for page, file in _FILES.items()}


def rewrite(text: str, page: Path, root: Path, base: Path | None = None) -> str:
    """Return a page's text in which links out of `docs/` work without a server of the repository.

    Args:
        text: Of the page.
        page: Its file in `docs/`.
        root: Of the repository.
        base: Where its links begin, if not beside it.
    """
    docs, base = root / "docs", base or page.parent

    def link(found: re.Match[str]) -> str:
        picture, words, target, anchor = found[1], found[2], found[3], found[4] or ""
        path = (base / target).resolve()
        if picture or not path.exists():
            return found[0]
        inside = path.relative_to(root).as_posix()
        if inside in _PAGES:
            path = docs / f"{_PAGES[inside]}.md"
        if path.is_relative_to(docs):
            return f"[{words}]({os.path.relpath(path, page.parent)}{anchor})"
        return f"`{inside}`" if words.strip("`") == inside else f"{words} (`{inside}`)"

    return _LINK.sub(link, text)


def read(app: Any, docname: str, content: list[str]) -> None:
    """Rewrite a page as it is read; take the file that it stands for."""
    page = Path(app.env.doc2path(docname)).resolve()
    root = Path(app.srcdir).resolve().parent
    if docname in _FILES:
        app.env.note_dependency(root / _FILES[docname])
        content[0] = rewrite((root / _FILES[docname]).read_text("utf-8"), page, root, root)
    elif page.suffix == ".md":
        content[0] = rewrite(content[0], page, root)


def repo(
    name: str, raw: str, text: str, line: int, inliner: Any, options: Any = None, content: Any = None
) -> Any:
    """Show a path of the repository."""
    del name, line, inliner, options, content
    return [nodes.literal(raw, text)], []


def setup(app: Any) -> dict[str, bool]:
    """Register."""
    app.connect("source-read", read)
    app.add_role("repo", repo)
    return {"parallel_read_safe": True}
