"use strict";
// Charts come as Plotly's traces and layout; colours of the theme, fonts and margins are added here.

function theme() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name).trim();
}

function dressed(chart, height, width) {
  const colour = theme();
  const axis = {
    gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"),
    automargin: true, fixedrange: width < 600,
  };
  const given = chart.layout;
  const narrow = width < 600;
  const title = (own) => (own && own.title ? { title: { ...own.title, standoff: 8 } } : {});
  return {
    ...given,
    annotations: (given.annotations || []).map((own) => ({ ...own, bgcolor: colour("--back"), opacity: 0.85 })),
    xaxis: { ...axis, ...given.xaxis, ...title(given.xaxis), tickangle: "auto" },
    yaxis: { ...axis, ...given.yaxis, ...title(given.yaxis) },
    height,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), size: narrow ? 10 : 12, family: "system-ui, sans-serif" },
    margin: { l: narrow ? 40 : 56, r: 14, t: 6, b: 44 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: narrow ? 9 : 11 } },
    hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    hovermode: "closest",
    dragmode: narrow ? false : "zoom",
    uirevision: "kept",
  };
}

function draw(place, chart, height) {
  const layout = dressed(chart, height, place.clientWidth || window.innerWidth);
  return Plotly.react(place, chart.traces, layout, { displaylogo: false, displayModeBar: false, responsive: true });
}

class ChartPanel {
  constructor(name) {
    this.title = element("h3");
    this.place = element("div", { className: "plot" });
    this.note = element("small");
    this.open = element("button", { type: "button", className: "open", textContent: "\u2922", title: "larger" });
    this.open.setAttribute("aria-label", "larger");
    this.open.addEventListener("click", () => enlarge(this.chart));
    this.root = element("section", { id: `chart-${name}`, className: "chart" },
      this.title, this.open, this.place, this.note);
  }

  update(chart) {
    this.chart = chart;
    this.title.textContent = chart.title;
    this.note.textContent = chart.note;
    this.root.classList.toggle("wide", chart.wide);
    const empty = chart.traces.length === 0;
    this.open.hidden = empty;
    this.place.hidden = empty;
    if (!empty) this.redraw();
  }

  redraw() {
    if (this.chart && this.chart.traces.length && this.root.isConnected) draw(this.place, this.chart, this.chart.height);
  }
}

function enlarge(chart) {
  const dialog = document.getElementById("large");
  const place = dialog.querySelector(".plot");
  dialog.showModal();
  draw(place, chart, Math.max(chart.height, Math.round(window.innerHeight * 0.82)));
}
