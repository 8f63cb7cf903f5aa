"""What a page shows to be typed: found, and checked where it cannot be run.

A block that is not run is preceded by a comment, `<!-- not run: REASON -->`, which readers do not see.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RUN = ("python", "yaml", "bash", "literalinclude")
"""Languages of blocks that a reader types."""
OTHER = ("text", "toctree", "eval-rst", "executed")
"""What is output, tables, or run when the site is built."""
_FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n)?"
    r"^```(?P<language>\{?[\w-]*\}?)(?P<rest>[^\n]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PACKAGE = {"hypernudge", "benchmarks", "experiments", "scripts", "src", "tests"}


@dataclass(frozen=True)
class Snippet:
    """A block of a page.

    Attributes:
        page: Name of the page, as `start/optuna`.
        line: Where it begins.
        language: One of `RUN` or `OTHER`.
        code: What is typed.
        reason: Why it is not run, or None.
    """

    page: str
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


def file_of(page: str) -> Path:
    """Return the file of a page: of the site, or of the repository where its name has capitals."""
    return ROOT / f"{page}.md" if page.isupper() else DOCS / f"{page}.md"


PAGES = ["README", "CONTRIBUTING", "SECURITY"] + [
    path.relative_to(DOCS).with_suffix("").as_posix() for path in sorted(DOCS.rglob("*.md"))
]


def blocks(page: str) -> Iterator[Snippet]:
    """Yield every fenced block of a page."""
    text = file_of(page).read_text("utf-8")
    for found in _FENCE.finditer(text):
        language, code = found["language"].strip("{}"), found["code"]
        if language == "literalinclude":
            code = (file_of(page).parent / found["rest"].strip()).read_text("utf-8")
        yield Snippet(page, text[: found.start()].count("\n") + 1, language, code, found["reason"])


def snippets(page: str) -> list[Snippet]:
    """Return what a page shows to be typed."""
    return [block for block in blocks(page) if block.language in RUN]


def commands(code: str) -> list[list[str]]:
    """Return the commands of a shell block, without `uv run`, in words."""
    lines = re.split(r"\n| && ", code.replace("\\\n", " "))
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[2:] if line[:2] == ["uv", "run"] else line for line in words if line]


def inline_commands(page: str) -> list[list[str]]:
    """Return the whole commands that stand in the text of a page."""
    text = _FENCE.sub("", file_of(page).read_text("utf-8"))
    found = re.findall(r"`((?:uv run )?(?:hypernudge \w|python -m )[^`]*)`", text)
    return [
        words
        for code in found
        for words in commands(" ".join(code.split()))
        if "benchmarks.ROOM" not in words
    ]


def check_python(snippet: Snippet) -> None:
    """Compile a block, and find every name of this project that it imports."""
    for node in ast.walk(ast.parse(snippet.code, str(snippet))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _PACKAGE:
            # Read, not imported: what it needs may belong to another environment.
            origin = importlib.util.find_spec(node.module).origin
            defined = set(re.findall(r"\b\w+\b", Path(origin).read_text("utf-8")))
            assert {name.name for name in node.names} <= defined, snippet


def check_command(words: list[str]) -> None:
    """Check what can be known of a command without running it.

    Raises:
        AssertionError: Where a program, a module, a file or an extra is not there, or an argument unknown.
    """
    from hypernudge.cli.app import _parser, parse_with_overrides
    from hypernudge.experiments.runners.tasks import EXPERIMENTS

    while "=" in words[0]:  # variables of the environment
        words = words[1:]
    program, *rest = words
    if program == "hypernudge":
        parse_with_overrides(_parser(), rest)  # exits where it is not understood
    elif program.endswith("python") and rest[0] == "-m":
        assert importlib.util.find_spec(rest[1]), words
    elif program.endswith("python"):
        assert (ROOT / rest[0]).is_file(), words
        task = Path(rest[0]).stem.removeprefix("task_")
        if task in EXPERIMENTS and "--help" not in rest:
            EXPERIMENTS[task]().parser().parse_args(rest[1:])
    elif words[:2] in (["pip", "install"], ["uv", "sync"]) or words[:3] == ["uv", "pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        named = re.findall(r"(?:^| |\.|hypernudge)\[([\w,-]+)\]", " ".join(rest))
        wanted = [extra for group in named for extra in group.split(",")]
        wanted += [rest[i + 1] for i, word in enumerate(rest[:-1]) if word == "--extra"]
        assert set(wanted) <= set(project["optional-dependencies"]), words
    elif "pytest" in words:
        named = [word for word in words if word.startswith("tests/")]
        assert [path for path in named if not (ROOT / path).exists()] == [], words
    else:
        assert program in ("uv", "ruff", "mypy", "sphinx-build", "python3"), words
