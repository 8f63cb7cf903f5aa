"""Every public name is in the reference, and says what its arguments are and what it raises."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap

import pytest

import hypernudge
from hypernudge import episodes
from scripts import import_graph

REFERENCE = import_graph.ROOT / "docs" / "reference"
LISTED = [
    name
    for page in sorted(REFERENCE.glob("*.md"))
    for name in re.findall(r"^\.\. auto\w+:: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
]


def of_integrations():
    """Return the public names of the integrations, which cannot all be imported at once."""
    for path in sorted((import_graph.ROOT / "hypernudge" / "integrations").glob("[!_]*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                yield f"hypernudge.integrations.{path.stem}.{node.name}"


PUBLIC = [
    *(f"hypernudge.{name}" for name in hypernudge.__all__),
    *(f"hypernudge.episodes.{name}" for name in vars(episodes) if name[0].isupper()),
    *of_integrations(),
]


def test_every_public_name_is_in_the_reference():
    assert len(PUBLIC) > 70
    listed = {*LISTED, *(name.replace("hypernudge.episodes.", "hypernudge.") for name in LISTED)}
    assert sorted(set(PUBLIC) - listed) == []
    assert len(LISTED) == len(set(LISTED))


def imported(name):
    module, _, attribute = name.rpartition(".")
    return getattr(__import__(module, fromlist=[attribute]), attribute)


IMPORTABLE = [name for name in LISTED if ".integrations." not in name and not name.endswith("BUCKETS")]


def documented(cls):
    """Return what says what a class takes: its docstring, those of its bases, and those it refers to."""
    text = "\n".join(inspect.getdoc(base) or "" for base in inspect.getmro(cls) if base is not object)
    for other in re.findall(r"^Args, besides those of `(\w+)`:", text, re.MULTILINE):
        text += documented(next(imported(name) for name in IMPORTABLE if name.endswith(f".{other}")))
    return text


# A method that implements one of theirs has their documentation, too.
PROTOCOLS = [
    *(imported(f"hypernudge.{name}") for name in ("Scheduler", "WarmStart", "Task", "GradientTask")),
    *(imported(f"hypernudge.episodes.{name}") for name in ("Axis", "Bandit", "Controller", "Reward")),
    imported("hypernudge.episodes.axes.param_group_axis.ParamGroupAxis"),
    imported("hypernudge.optimizers.Optimizer"),
    imported("hypernudge.schedulers.base.SupportsSpeculation"),
    imported("hypernudge.warmstart.base.SupportsBatchMeasurement"),
    imported("hypernudge.engine.clock.SimulatedEngine"),
    imported("hypernudge.warmstart.measurement.curvature.AroundCurvature"),
]


def functions():
    """Yield (name, function, docstring) of every public function, method and constructor."""
    seen = set()
    for name in IMPORTABLE:
        thing = imported(name)
        if not inspect.isclass(thing):
            yield name, thing, inspect.getdoc(thing) or ""
            continue
        if thing in seen:
            continue
        seen.add(thing)
        if not getattr(thing, "_is_protocol", False) and not inspect.isabstract(thing):
            yield name, thing.__init__, documented(thing)
        for method, value in vars(thing).items():
            value = getattr(value, "__func__", value)
            if (method[0] != "_" or method == "__call__") and inspect.isfunction(value):
                protocols = (getattr(protocol, method, None) for protocol in PROTOCOLS)
                texts = [inspect.getdoc(one) or "" for one in (getattr(thing, method), *protocols) if one]
                yield f"{name}.{method}", value, "\n".join(texts)


FUNCTIONS = list(functions())
# What these are is said once, by their own entries.
COMMON = {"history", "streams", "task", "optimizer", "config", "hp"}


def test_every_public_function_has_a_docstring():
    assert len(FUNCTIONS) > 200
    assert [name for name, _, text in FUNCTIONS if not text] == []


def test_every_argument_is_documented():
    missing = [
        f"{name}: {parameter}"
        for name, function, text in FUNCTIONS
        for parameter in inspect.signature(function).parameters
        if parameter not in COMMON | {"self", "cls", "args", "kwargs"}
        and not re.search(rf"\b{parameter}\b", text)
        and not (parameter == "state" and "what `state_dict` returned" in text)
    ]
    assert missing == []


def raises(function):
    """Whether the body of a function raises, or checks its arguments, itself."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):  # made by dataclass
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            named = ast.unparse(node.exc.func)
            if named != "NotImplementedError":
                return True
        if isinstance(node, ast.Call) and re.match(r"require(_\w+)?$", ast.unparse(node.func)):
            return True
    return False


def test_every_error_is_documented():
    missing = [name for name, function, text in FUNCTIONS if raises(function) and "Raises:" not in text]
    constructors = [
        name
        for name in IMPORTABLE
        if inspect.isclass(thing := imported(name))
        and "__post_init__" in vars(thing)
        and raises(thing.__post_init__)
        and "Raises:" not in documented(thing)
    ]
    assert missing + constructors == []


def test_every_array_has_a_shape():
    array = re.compile(r"\b(ndarray|NDArray|Tensor)\b")
    missing = []
    for name, function, text in FUNCTIONS:
        hints = [str(p.annotation) for p in inspect.signature(function).parameters.values()]
        hints.append(str(inspect.signature(function).return_annotation))
        if any(array.search(hint) for hint in hints) and not re.search(r"shape|[Ss]calar|0-dim", text):
            missing.append(name)
    assert missing == []


# What such a number is measured in must be said; `wall_seconds` and `max_units` say it themselves.
MEASURED = re.compile(r"(.*_)?(timeout|budget|time|until|interval|delay|cost|poll|limit|age)")
UNIT = re.compile(r"second|unit|FLOP|byte|MiB|share", re.IGNORECASE)


def test_every_measured_argument_has_a_unit():
    measured = [
        (name, parameter, re.findall(rf"^\s*`?{parameter}`?: .*(?:\n {{8,}}.*)*", text, re.MULTILINE))
        for name, function, text in FUNCTIONS
        for parameter, about in inspect.signature(function).parameters.items()
        if MEASURED.fullmatch(parameter) and "Mapping" not in str(about.annotation)
    ]
    assert len(measured) > 10
    assert [
        f"{name}: {parameter}"
        for name, parameter, entries in measured
        if not any(UNIT.search(entry.replace(parameter, "")) for entry in entries)
    ] == []


def integrated():
    """Yield (name, function, docstring) of the integrations, read, since they cannot be imported at once.

    Methods are left out but for constructors: they are the tools' own, by the tools' names.
    """
    for path in sorted((import_graph.ROOT / "hypernudge" / "integrations").glob("[!_]*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
                continue
            text = ast.get_docstring(node) or ""
            found = [node] if isinstance(node, ast.FunctionDef) else node.body
            for function in found:
                if isinstance(function, ast.FunctionDef) and function.name in (node.name, "__init__"):
                    yield f"{path.stem}.{node.name}", function, text


def test_the_integrations_say_what_their_arguments_are_and_what_they_raise():
    found = list(integrated())
    assert len(found) > 12
    missing = []
    for name, function, text in found:
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        missing += [
            f"{name}: {argument.arg}"
            for argument in arguments
            if argument.arg != "self" and not re.search(rf"\b{argument.arg}\b", text)
        ]
        refuses = any(
            (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call))
            or (isinstance(node, ast.Call) and re.match(r"require(_\w+)?$", ast.unparse(node.func)))
            for node in ast.walk(function)
        )
        missing += [f"{name}: Raises"] if refuses and "Raises:" not in text else []
    assert missing == []


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="the group docs is not installed")
    pytest.importorskip("myst_parser", reason="the group docs is not installed")
    pytest.importorskip("furo", reason="the group docs is not installed")
    import subprocess
    import sys

    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [*command, str(import_graph.ROOT / "docs"), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    home = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "Where do you come from?" in home and "http://" not in home.replace("http://www.w3.org", "")
    assert (tmp_path / "site" / "pictures.html").read_text("utf-8").count("data:image/png;base64") == 8
