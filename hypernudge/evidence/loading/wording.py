"""What to do about a text that stands where something else belongs."""

from __future__ import annotations

import re

_FLOAT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([T ].*)?|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2,4}.*")
_SPAN = re.compile(r"(?:[0-9]+ days? )?[0-9]{1,3}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?")


def number_remedy(text: str, column: str = "") -> str:
    """How to write a text as the number it seems to mean.

    Args:
        text: What stands there.
        column: Of the long form: seed, time or score; times of day have another remedy there.
    """
    text = text.strip()
    if column == "seed":
        return whole_number_remedy(text)
    if _DATE.fullmatch(text) or _SPAN.fullmatch(text):
        what = "the seconds since the run began" if column == "time" else "a number"
        return f"write {what}, not a date or a time of day"
    if re.fullmatch(rf"{_FLOAT}\s*%", text):
        share = float(text.rstrip("% \t")) / 100
        return f"write a share without the per cent sign ({share:g}) in every row"
    if re.fullmatch(r"[+-]?[0-9]{1,3}([,' \u00a0\u202f][0-9]{3})+(\.[0-9]+)?", text) and not re.fullmatch(
        r"[+-]?0,[0-9]{3}", text
    ):
        plain = re.sub(r"[,' \u00a0\u202f]", "", text)
        if re.fullmatch(r"[+-]?[0-9]{1,3},[0-9]{3}", text):
            return f"a comma may mean either: write {plain} or {text.replace(',', '.')}"
        return f"write it without separators of thousands ({plain})"
    if re.fullmatch(r"[+-]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+", text):
        plain = text.replace(".", "").replace(",", ".")
        return f"write it with a point, and without separators of thousands ({plain})"
    if re.fullmatch(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?", text):
        return f"write it with a point ({text.replace(',', '.')})"
    unit = re.fullmatch(rf"({_FLOAT})\s*([^\W\d_]+)", text)
    if unit:
        return f"write the number alone ({unit.group(1)}), all in one unit"
    return (
        "write a number, or leave the score empty where the run diverged"
        if column == "score"
        else ("write a number")
    )


def is_text(text: str) -> bool:
    """Whether a text can be written at all: file names and JSON may hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def whole_number_remedy(text: str) -> str:
    """How to write a text as the seed it seems to mean."""
    numbers = re.findall(r"[0-9]+", text)
    if len(numbers) == 1 and not re.search(r"[.,-]", text):
        return f"runs are paired by it: write the number alone ({int(numbers[0])})"
    return "runs are paired by it: write a whole number, such as 0"
