"""`{executed}`: Python that is run when the site is built, shown with what it prints and draws.

A page's blocks share their names. The last value, if it is a picture, is shown; `:hidden:` hides the code.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


class Executed(SphinxDirective):
    """Runs its content."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"hidden": directives.flag, "alt": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the code, what it printed, and its picture."""
        code = "\n".join(self.content)
        names = self.env.temp_data.setdefault("executed", {})
        tree = ast.parse(code)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, self.env.docname, "exec"), names)
            value = None if last is None else eval(compile(ast.Expression(last.value), "last", "eval"), names)
        found: list[nodes.Node] = []
        if "hidden" not in self.options:
            found.append(nodes.literal_block(code, code, language="python"))
        if printed.getvalue():
            found.append(nodes.literal_block(printed.getvalue(), printed.getvalue(), language="text"))
        if hasattr(value, "_repr_png_"):
            data = base64.b64encode(value._repr_png_()).decode()
            alt = nodes.unescape(self.options.get("alt", "picture")).replace('"', "'")
            html = f'<img alt="{alt}" style="background: white" src="data:image/png;base64,{data}">'
            found.append(nodes.raw("", html, format="html"))
        return found


def setup(app: Any) -> dict[str, bool]:
    """Register."""
    app.add_directive("executed", Executed)
    return {"parallel_read_safe": True}
