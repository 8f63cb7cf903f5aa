"use strict";
// Tables sort and filter, figures open large, the contents show where one is. Without it all of the page is there.
(() => {
  const made = (tag, properties) => Object.assign(document.createElement(tag), properties);

  const value = (cell) => {
    const text = cell.textContent.trim();
    const found = /^[<]?(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)/i.exec(text);
    return text === "" ? null : found ? Number(found[1]) : text.toLowerCase();
  };

  for (const table of document.querySelectorAll("table.data")) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...body.rows];
    heads.forEach((head, place) => {
      const button = made("button", { type: "button", textContent: head.textContent });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const keyed = rows.map((row) => [value(row.cells[place]), row]);
        keyed.sort(([a], [b]) => {
          if (a === b) return 0;
          if (a === null || b === null) return a === null ? 1 : -1;  // what is not known comes last
          const order = typeof a === typeof b ? (a < b ? -1 : 1) : typeof a === "number" ? -1 : 1;
          return down ? -order : order;
        });
        body.append(...keyed.map(([, row]) => row));
      });
    });
    if (rows.length < 8) continue;
    const search = made("input", { type: "search", placeholder: "filter" });
    search.setAttribute("aria-label", "filter this table");
    const count = made("span", { textContent: `${rows.length} rows` });
    const tools = made("div", { className: "tools" });
    tools.append(search, count);
    table.parentElement.before(tools);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, place) => {
        row.hidden = !words.every((word) => texts[place].includes(word));
        shown += !row.hidden;
      });
      count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    });
  }

  const dialog = document.getElementById("large");
  const place = dialog.querySelector(".drawing");
  let from = null;
  const open = (figure) => {
    from = figure.querySelector(".drawing");
    place.append(...from.childNodes);  // moved, not copied: patterns are named once in a page
    dialog.querySelector("p").textContent = figure.querySelector("figcaption").textContent;
    dialog.showModal();
  };
  for (const figure of document.querySelectorAll("figure")) {
    figure.classList.add("clickable");
    const button = made("button", { type: "button", className: "open", textContent: "\u2922", title: "larger" });
    button.setAttribute("aria-label", "larger");
    button.addEventListener("click", () => open(figure));
    figure.querySelector(".drawing").addEventListener("click", () => open(figure));
    figure.append(button);
  }
  dialog.addEventListener("close", () => from.append(...place.childNodes));
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const sections = [...links.keys()].map((id) => document.getElementById(id));
  const mark = () => {
    const passed = sections.filter((section) => section.getBoundingClientRect().top < 140);
    const here = passed.length ? passed[passed.length - 1] : sections[0];
    links.forEach((link, id) => link.classList.toggle("here", id === here.id));
  };
  document.addEventListener("scroll", mark, { passive: true });
  mark();
})();
