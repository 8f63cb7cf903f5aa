"""The tables that the pages show, from the cells that were measured."""

from __future__ import annotations

from typing import Any

MODELS = {
    "mlp_26k": "MLP, 26 thousand parameters",
    "resnet18": "ResNet-18, 32x32, batch 32",
    "transformer_20m": "transformer, 20 million",
}
COLUMNS = {
    "hypernudge_lr": "rate axis",
    "pulseopt_lr": "`pulseopt`",
    "hypernudge_noise": "rate + noise",
    "pulseopt_noise": "`pulseopt`",
    "hypernudge_default": "default at first",
    "hypernudge_default_settled": "default from 8,000 steps on",
    "hypernudge_annealing": "annealing",
}

Cells = dict[tuple[str, str], dict[str, Any]]  # by model and optimizer


def every_cell(cells: Cells) -> str:
    """Return a row for every cell: the overhead, in brackets its range over the percentiles."""
    names = _measured(cells)
    lines = _head(["model", "optimizer", "rounds", "plain step, ms", *(COLUMNS[name] for name in names)])
    for (model, optimizer), cell in cells.items():
        row = [model, optimizer, str(cell["rounds"]), f"{cell['plain_median_ms']:.2f}"]
        for name in names:
            value = cell["overhead_percent"].get(name)
            ends = cell.get("overhead_range", {}).get(name)
            shown = "" if value is None else _number(value)
            row.append(f"{shown} ({_number(ends[0])} to {_number(ends[1])})" if ends else shown)
        lines.append(_row(row))
    return "\n".join(lines)


def by_model(cells: Cells) -> str:
    """Return a row for every model: the least and the greatest overhead over optimizers."""
    names = _measured(cells)
    lines = _head(["overhead, % of a step", *(COLUMNS[name] for name in names)])
    for model, title in MODELS.items():
        own = [cell["overhead_percent"] for (of, _), cell in cells.items() if of == model]
        if not own:
            continue
        row = [title]
        for name in names:
            values = [overhead[name] for overhead in own if name in overhead]
            row.append(_range(min(values), max(values)) if values else "")
        lines.append(_row(row))
    return "\n".join(lines)


def _measured(cells: Cells) -> list[str]:
    return [name for name in COLUMNS if any(name in cell["overhead_percent"] for cell in cells.values())]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.2f}" if abs(value) < 1 else f"{value:.1f}"


def _range(low: float, high: float) -> str:
    if low <= 0:  # of a sign that changes little can be said but how much it is not
        return f"at most {_number(max(high, 0.0))}"
    ends = [_number(low), _number(high)]
    return ends[0] if ends[0] == ends[1] else "-".join(ends)


def _head(names: list[str]) -> list[str]:
    return [_row(names), "|---" * len(names) + "|"]


def _row(entries: list[str]) -> str:
    return "| " + " | ".join(entries) + " |"
