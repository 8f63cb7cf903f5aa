"use strict";
// A table of many rows: filtered, sorted, a page at a time. All text is set as text.

const ROWS_ON_A_PAGE = 50;

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function shown(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e6 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

// A filter is words, each to be found in a row, or conditions on a column: `lr<0.01`, `status=failed`.
function conditions(text, columns) {
  const names = columns.map(([name]) => name.toLowerCase());
  return text.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const found = /^(.+?)(<=|>=|<|>|=)(.+)$/.exec(word);
    const place = found ? names.findIndex((name) => name.replace(/\s+/g, "") === found[1]) : -1;
    if (place < 0) return (row) => row.slice(0, columns.length).some((cell) => shown(cell).toLowerCase().includes(word));
    const [, , sign, wanted] = found;
    const number = Number(wanted);
    return (row) => {
      const cell = row[place];
      if (cell === null || cell === undefined) return false;
      if (sign === "=") return Number.isNaN(number) || typeof cell !== "number"
        ? String(cell).toLowerCase() === wanted : cell === number;
      if (typeof cell !== "number" || Number.isNaN(number)) return false;
      return sign === "<" ? cell < number : sign === ">" ? cell > number : sign === "<=" ? cell <= number : cell >= number;
    };
  });
}

class DataTable {
  constructor(name, lead) {
    this.lead = lead;
    this.columns = [];
    this.rows = [];
    this.sort = null;
    this.at = 0;
    this.search = element("input", { type: "search", placeholder: "filter: words, or lr<0.01" });
    this.search.setAttribute("aria-label", `filter ${name}`);
    this.search.addEventListener("input", () => { this.at = 0; this.render(); });
    this.count = element("span", { className: "count" });
    this.head = element("tr");
    this.body = element("tbody");
    this.before = element("button", { type: "button", textContent: "previous" });
    this.after = element("button", { type: "button", textContent: "next" });
    this.where = element("span");
    this.before.addEventListener("click", () => { this.at -= 1; this.render(); });
    this.after.addEventListener("click", () => { this.at += 1; this.render(); });
    this.pages = element("div", { className: "pages" }, this.before, this.where, this.after);
    this.tools = element("div", { className: "tools" }, this.search, this.count);
    this.title = element("h2");
    const table = element("table", {}, element("thead", {}, this.head), this.body);
    this.root = element("section", { id: `table-${name}` }, this.title, this.tools,
      element("div", { className: "scroll", tabIndex: 0 }, table), this.pages);
    this.root.table = this;
  }

  update(table) {
    if (table.anew) {
      this.columns = table.columns;
      this.rows = [];
      this.title.textContent = table.title;
      if (this.sort === null && table.order) this.sort = { place: table.order[0], down: table.order[1] };
      this.heads();
    }
    table.places.forEach((place, index) => { this.rows[place] = table.rows[index]; });
    if (table.anew || table.places.length) this.render();
  }

  heads() {
    this.head.replaceChildren(...this.columns.map(([name, kind], place) => {
      const button = element("button", { type: "button", textContent: name });
      button.addEventListener("click", () => {
        const same = this.sort && this.sort.place === place;
        this.sort = { place, down: same ? !this.sort.down : kind === "number" };
        this.at = 0;
        this.render();
      });
      return element("th", { className: kind, scope: "col" }, button);
    }));
  }

  chosen() {
    const tests = conditions(this.search.value, this.columns);
    const found = this.rows.filter((row) => tests.every((test) => test(row)));
    if (this.sort) {
      const { place, down } = this.sort;
      const sign = down ? -1 : 1;
      found.sort((a, b) => {
        const [x, y] = [a[place], b[place]];
        if (x === y) return 0;
        if (x === null || x === undefined) return 1;  // what is not known comes last, whatever the order
        if (y === null || y === undefined) return -1;
        return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
      });
    }
    return found;
  }

  render() {
    const found = this.chosen();
    const last = Math.max(0, Math.ceil(found.length / ROWS_ON_A_PAGE) - 1);
    this.at = Math.min(Math.max(0, this.at), last);
    const from = this.at * ROWS_ON_A_PAGE;
    this.body.replaceChildren(...found.slice(from, from + ROWS_ON_A_PAGE).map((row) => this.line(row)));
    [...this.head.children].forEach((head, place) => {
      const own = this.sort && this.sort.place === place;
      if (own) head.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.count.textContent = found.length === this.rows.length
      ? `${found.length} rows` : `${found.length} of ${this.rows.length} rows`;
    this.pages.hidden = last === 0;
    this.tools.hidden = this.rows.length < 8;
    this.where.textContent = `page ${this.at + 1} of ${last + 1}`;
    this.before.disabled = this.at === 0;
    this.after.disabled = this.at === last;
  }

  line(row) {
    const address = this.lead(row[this.columns.length]);
    return element("tr", {}, ...this.columns.map(([name, kind], place) => {
      const text = shown(row[place]);
      const cell = element("td", { className: kind === "number" ? "number" : text.length > 45 ? "long" : "" });
      if (place === 0 && address) cell.append(element("a", { href: address, textContent: text || "open" }));
      else if (name === "state" || name === "status" || name === "verdict") {
        cell.append(element("span", { className: `badge ${text.split(/[^a-z]/)[0]}`, textContent: text }));
      } else cell.textContent = text;
      if (typeof row[place] === "number") cell.title = String(row[place]);
      return cell;
    }));
  }
}
