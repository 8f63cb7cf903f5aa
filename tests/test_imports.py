"""Dependencies point one way, and the light front stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "hypernudge"
# Each layer may import itself and the layers before it.
LAYERS = [
    {
        "errors",
        "random",
        "parameters",
        "space",
        "trial",
        "flops",
        "registry",
        "optimizers",
        "workspace",
        "results",
        "task",
    },
    {"hypergradient", "schedulers", "surrogates", "engine", "episodes"},
    {"warmstart", "tuner"},
    {"schema", "tasks", "harness", "evidence", "integrations"},
    {"cli", "__init__"},
]
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
CORE = [name for layer in LAYERS[:3] for name in layer]


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def layer_of(name):
    return next(index for index, names in enumerate(LAYERS) if name in names)


@pytest.mark.parametrize(("path", "part"), list(modules()), ids=lambda value: getattr(value, "stem", value))
def test_dependencies_point_one_way(path, part):
    for name in imports(path):
        if name.startswith("hypernudge."):
            other = name.split(".")[1]
            assert layer_of(other) <= layer_of(part), f"{path} imports {name}"
        elif part in CORE:
            assert name.split(".")[0] not in HEAVY, f"{path} imports {name}"


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
