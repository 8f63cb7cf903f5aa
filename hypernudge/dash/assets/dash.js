"use strict";
// The page: asks for what changed since it asked last, and shows it. An export has it all within itself.

const FIRST = new Set(["verdicts", "variations"]);  // tables above the charts
const EVERY = 1000;  // milliseconds between two questions
const HIDDEN = 5000;
const within = document.getElementById("data");
const pages = within ? JSON.parse(within.textContent) : null;
const page = document.getElementById("page");
const live = document.getElementById("live");
const trail = document.getElementById("trail");
let current = null;

function parts() {
  return location.hash.slice(1).split("/").filter(Boolean).map(decodeURIComponent);
}

function address(of) {
  return `#${of.map(encodeURIComponent).join("/")}`;
}

class Page {
  constructor(of) {
    this.of = of;
    this.mark = "";
    this.charts = new Map();
    this.tables = new Map();
    this.title = element("h1");
    this.state = element("span", { className: "badge", hidden: true });
    this.error = element("p", { className: "flag", hidden: true });
    this.bar = element("div");
    this.progress = element("div", { className: "progress", hidden: true }, this.bar);
    this.facts = element("dl", { className: "facts" });
    this.notes = element("div");
    this.first = element("div");
    this.grid = element("div", { className: "charts" });
    this.last = element("div");
    page.replaceChildren(this.title, this.state, this.error, this.progress, this.facts, this.first, this.notes,
      this.grid, this.last);
  }

  update(data) {
    this.mark = data.mark;
    if ("kind" in data) this.kind = data.kind;
    if ("title" in data) {
      this.title.textContent = data.title;
      document.title = `${data.title} - hypernudge`;
    }
    if ("state" in data) {
      this.state.textContent = data.state;
      this.state.className = `badge ${data.state.split(/[^a-z]/)[0]}`;
    }
    this.state.hidden = !this.state.textContent;
    if ("error" in data) {
      this.error.hidden = !data.error;
      this.error.textContent = data.error;
    }
    if ("progress" in data) {
      const [done, total] = data.progress;
      this.progress.hidden = false;
      this.progress.title = `${done} of ${total} cells`;
      this.bar.style.width = `${(100 * done) / Math.max(1, total)}%`;
    }
    if ("facts" in data) {
      this.facts.replaceChildren(...data.facts.map(([name, value]) =>
        element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
    }
    if ("notes" in data) {
      this.notes.replaceChildren(...data.notes.map((note) => element("p", { className: "flag", textContent: note })));
    }
    for (const table of data.tables) {
      if (!this.tables.has(table.name)) {
        const made = new DataTable(table.name, (to) => this.lead(to));
        this.tables.set(table.name, made);
        const place = FIRST.has(table.name) ? this.first : this.last;
        if (table.name === "verdicts") place.prepend(made.root);
        else place.append(made.root);
      }
      this.tables.get(table.name).update(table);
    }
    for (const chart of data.charts) {
      if (!this.charts.has(chart.name)) {
        const panel = new ChartPanel(chart.name);
        this.charts.set(chart.name, panel);
        this.grid.append(panel.root);
      }
      this.charts.get(chart.name).update(chart);
    }
  }

  // A row of the list leads to a source, a row of an experiment to a cell.
  lead(to) {
    if (!to) return null;
    const of = this.kind === "list" ? [to] : [...this.of, ...to.split("/")];
    return pages && !(of.join("/") in pages) ? null : address(of);
  }
}

function say(text, state) {
  live.textContent = text;
  live.className = state;
}

async function ask(of, mark) {
  const query = new URLSearchParams(of.map((part) => ["of", part]));
  query.set("since", mark);
  const answer = await fetch(`data?${query}`, { cache: "no-store" });
  if (answer.status === 204) return null;
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.error || answer.statusText);
  return data;
}

function show(own, data) {
  own.update(data);
  const sources = own.tables.get("sources");
  if (own.kind === "list" && sources && sources.rows.length === 1 && !own.left) {
    own.left = true;
    location.replace(address([sources.rows[0][sources.columns.length]]));
  }
}

async function follow(own) {
  while (own === current) {
    try {
      const data = await ask(own.of, own.mark);
      if (own !== current) return;
      if (data) show(own, data);
      say(`live, ${new Date().toLocaleTimeString()}`, "on");
    } catch (problem) {
      if (own !== current) return;
      say(`${problem instanceof TypeError ? "server not reached" : problem.message}; trying again`, "off");
    }
    await new Promise((done) => { setTimeout(done, document.hidden ? HIDDEN : EVERY); });
  }
}

function go() {
  const of = parts();
  current = new Page(of);
  const up = of.length > 1 ? [element("a", { href: address(of.slice(0, 1)), textContent: "experiment" })] : [];
  trail.replaceChildren(...up, of.length > 2 ? `${of[1]}, seed ${of[2]}` : "");
  window.scrollTo(0, 0);
  if (pages) {
    const data = pages[of.join("/")];
    if (data) show(current, data);
    else current.update({ mark: "", title: "not in this file", state: "", notes: [], tables: [], charts: [] });
    say(`as of ${within.dataset.taken.replace("T", " ")}`, "");
  } else {
    say("connecting", "");
    follow(current);
  }
}

function redraw() {
  if (current) for (const panel of current.charts.values()) panel.redraw();
}

// Plotly is packed in an export: a page of four hundred kilobytes more would be five megabytes.
async function unpack() {
  const text = atob(document.getElementById("plotly").textContent.trim());
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const source = await new Response(stream).blob();
  await new Promise((done, failed) => {
    const made = element("script", { src: URL.createObjectURL(new Blob([source], { type: "text/javascript" })) });
    made.addEventListener("load", done);
    made.addEventListener("error", failed);
    document.head.append(made);
  });
}

async function begin() {
  const dialog = document.getElementById("large");
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => Plotly.purge(dialog.querySelector(".plot")));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  if (pages) await unpack();
  window.addEventListener("hashchange", go);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 200); });
  go();
}

begin();
