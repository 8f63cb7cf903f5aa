"""Which hyper-parameters matter, with intervals."""

from __future__ import annotations

from hypernudge.dash.charts.chart import BEST, Chart, numbers, text
from hypernudge.study.analysis.importance import Importance

TITLE = "Which hyper-parameters matter"
_MOST = 15


def chart(found: Importance) -> Chart:
    """Return the chart of an importance that was computed."""
    count = min(len(found.names), _MOST)
    names = [text(name, 22) for name in found.names[:count]]
    spans = list(zip(found.share[:count], found.low[:count], found.high[:count], strict=True))
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(count)),
        "x": numbers(share for share, _, _ in spans),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": numbers(max(0.0, high - share) for share, _, high in spans),
            "arrayminus": numbers(max(0.0, share - low) for share, low, _ in spans),
            "thickness": 1.2,
            "color": "#8a8f98",
        },
        "text": [
            f"{name}: {s:.2f} [{lo:.2f}, {hi:.2f}]" for name, (s, lo, hi) in zip(names, spans, strict=True)
        ],
        "textposition": "none",
        "hoverinfo": "text",
        "marker": {"color": BEST},
        "showlegend": False,
    }
    layout = {
        "xaxis": {"title": {"text": "share of the variance, 95 % of draws"}, "rangemode": "tozero"},
        "yaxis": {
            "tickvals": list(range(count)),
            "ticktext": names,
            "range": [count - 0.4, -0.6],
            "showgrid": False,
        },
    }
    notes = [
        found.warning,
        f"{found.method} on {found.trials} trials after unit {found.unit}",
        f"the forest explains {max(found.explained, 0):.0%} of unseen trials",
    ]
    height = max(200, 110 + 26 * count)
    return Chart("importance", TITLE, [trace], layout, "; ".join(filter(None, notes)), height)
