"""One dialect of docstrings: Google's sections, names in single backticks, no reStructuredText."""

import ast
import re

import pytest

from scripts import import_graph

REST = re.compile(r":(class|meth|func|attr|mod|exc|data|obj):`|``|(?<!:)::(?=\n|$)")


@pytest.mark.parametrize("folder", ["hypernudge", "src", "experiments", "scripts", "benchmarks"])
def test_docstrings_are_no_restructured_text(folder):
    found = []
    for path in sorted((import_graph.ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            # Also the strings under attributes.
            text = (
                node.value.value
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                else ""
            )
            if isinstance(text, str) and REST.search(text):
                found.append(f"{path.relative_to(import_graph.ROOT)}:{node.lineno}")
    assert found == []
