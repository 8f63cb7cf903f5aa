"""Dependencies point one way, and the light front stays light."""

import ast
import pkgutil
import re
import subprocess
import sys

import pytest

from scripts import import_graph

PACKAGE = import_graph.ROOT / "hypernudge"
HEAVY = {
    "hydra",
    "omegaconf",
    "pandas",
    "matplotlib",
    "lightning",
    "sklearn",
    "statsmodels",
    "lifelines",
    "rich",
    "jsonschema",
}
CORE = {name for row in import_graph.ROWS[: import_graph.row_of("tuner") + 1] for name in row}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_dependencies_point_one_way():
    assert import_graph.upwards() == []


def test_modules_import_each_other_in_no_circle():
    assert import_graph.cycles() == []


def test_the_core_needs_no_extra():
    core = [path for module, path in import_graph.modules().items() if import_graph.room_of(module) in CORE]
    assert len(core) > 50
    for path in core:
        assert not {name.split(".")[0] for name in imports(path)} & HEAVY, path


def test_every_string_that_names_a_module_names_one_that_is_there():
    named = re.compile(r"(hypernudge(?:\.\w+)+)(?::(\w+))?")
    folders = [
        import_graph.ROOT / name for name in ("hypernudge", "src", "scripts", "experiments", "benchmarks")
    ]
    found = 0
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            text = node.value if isinstance(node, ast.Constant) else None
            if not isinstance(text, str) or (match := named.fullmatch(text)) is None:
                continue
            found += 1
            assert pkgutil.resolve_name(":".join(filter(None, match.groups()))) is not None, f"{path}: {text}"
    assert found > 20


def test_every_command_that_the_pages_name_is_there():
    root, called = import_graph.ROOT, re.compile(r"-m ((?:hypernudge|benchmarks|src|scripts)(?:\.\w+)*)")
    pages = [
        root / "README.md",
        *(
            page
            for folder in ("docs", "benchmarks", "hypernudge", "config")
            for page in (root / folder).rglob("*.*")
        ),
    ]
    named = {
        (page, module)
        for page in pages
        if page.suffix in {".md", ".py", ".yaml"}
        for module in called.findall(page.read_text("utf-8"))
    }
    assert len({module for _, module in named}) > 15
    for page, module in sorted(named):
        path = root.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), f"{page}: {module}"


def test_every_import_that_pages_and_examples_show_is_there():
    root, known = import_graph.ROOT, import_graph.modules()
    line = re.compile(r"from hypernudge((?:\.\w+)*) import ([\w, ]+)")
    pages = [
        root / "README.md",
        root / "CONTRIBUTING.md",
        *(root / "docs").glob("*.md"),
        *(root / "examples").iterdir(),
    ]
    shown = {
        (page.name, module.lstrip("."), name.split(" as ")[0].strip())
        for page in pages
        if page.suffix in {".md", ".py", ".ipynb"}
        for module, names in line.findall(page.read_text("utf-8"))
        for name in names.split(",")
    }
    assert len(shown) > 25
    for page, module, name in sorted(shown):
        assert name in defined(known[module]) or f"{module}.{name}" in known, f"{page}: {module}.{name}"


def defined(path):
    """Return the names at a module's top level; integrations cannot be imported without their extras."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_rooms_are_small():
    for folder in {path.parent for path in import_graph.modules().values()}:
        # Two files are how a folder is imported and started, whatever it holds.
        count = sum(path.name not in ("__init__.py", "__main__.py") for path in folder.glob("*.py"))
        assert count <= 15, f"{folder} holds {count} modules"


def test_schedulers_never_import_torch():
    for path in (PACKAGE / "schedulers").rglob("*.py"):
        assert not any(name.split(".")[0] == "torch" for name in imports(path)), path


@pytest.mark.parametrize(
    "module",
    ["hypernudge", "hypernudge.cli", "hypernudge.harness.running.train", "hypernudge.harness.running.run"],
)
def test_the_front_does_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_can_be_imported():
    import hypernudge

    for name in hypernudge.__all__:
        assert getattr(hypernudge, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        _ = hypernudge.nothing
