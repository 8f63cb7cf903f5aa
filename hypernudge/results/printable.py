"""Text of unknown origin, made harmless for terminals, spreadsheets, Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""What makes a spreadsheet take a cell for a formula, or drop what stands before one."""

_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]*(e[+-]?[0-9]+)?", re.IGNORECASE)  # a sign alone is harmless, too

_MARKDOWN = {character: f"\\{character}" for character in "\\`*|~$"} | {"<": "&lt;", ">": "&gt;"}
_MARKUP = re.compile(
    r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # an underscore within a word is plain text
    r"|\](?=[(\[:])"  # the end of a link's text
    r"|&(?=#?\w+;)"  # the name of a character
)

_LATEX = str.maketrans(
    {
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
)


def printable(text: str) -> str:
    """Return text for a terminal: control characters, and others that cannot be seen, as escapes.

    Escape sequences could repaint the screen, right-to-left marks reverse what is read.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def abridged(items: Iterable[object], most: int = 10, separator: str = ", ") -> str:
    """Return items in one line; where there are many the first of them, and how many there are more."""
    shown = [str(item) for item in items]
    more = [f"and {len(shown) - most} more"] if len(shown) > most else []
    return separator.join([*shown[:most], *more])


def one_line(text: str) -> str:
    """Return text for a cell of a table: line breaks and tabs become spaces, the rest as `printable`."""
    return printable(" ".join(text.split())) if not text.isprintable() else text


def for_csv(text: str) -> str:
    """Return a text cell of a CSV file that no spreadsheet takes for a formula; `from_csv` undoes it.

    An apostrophe in front says "text" to spreadsheets. A text that looks as if it had been guarded already
    gets one more, so that every text comes back as it was.
    """
    return "'" + text if _is_formula(text.lstrip("'")) else text


def from_csv(text: str) -> str:
    """Return a text cell as it was before `for_csv`."""
    return text[1:] if text.startswith("'") and _is_formula(text.lstrip("'")) else text


def _is_formula(text: str) -> bool:
    return text.startswith(_FORMULA) and _NUMBER.fullmatch(text) is None


def for_markdown(text: str) -> str:
    """Return text for one line of Markdown (a cell of a table, say): no markup, no HTML, no line break."""
    marked = _MARKUP.sub(lambda found: "&amp;" if found[0] == "&" else f"\0{found[0]}", one_line(text))
    escaped = "".join(_MARKDOWN.get(character, character) for character in marked)
    return escaped.replace("\0", "\\")  # a NUL of the text itself is an escape by now


def for_latex(text: str) -> str:
    """Return text for one line of LaTeX; what would be an argument of the line break before it is none."""
    escaped = one_line(text).translate(_LATEX)
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped
