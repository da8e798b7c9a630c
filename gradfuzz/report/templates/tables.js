// Tables that are in the page: sort by a column, search their rows.
"use strict";
function element(tag, text, css) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (css) made.className = css;
  return made;
}

function sortKey(cell) {
  const number = cell.dataset.v === undefined ? cell.textContent.trim().replaceAll(",", "") : cell.dataset.v;
  if (number === "nan" || number === "" || number === "-" || number === "·") return null;
  return Number.isNaN(Number(number)) ? number.toLowerCase() : Number(number);
}

// Nothing to compare always comes last; a first click on numbers shows the largest first.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return sign * (typeof a === "number" ? -1 : 1);
  return sign * (a < b ? -1 : a > b ? 1 : 0);
}

function markSorted(headers, chosen, descending) {
  for (const header of headers) header.removeAttribute("aria-sort");
  chosen.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

function makeSortable(table) {
  const headers = [...table.querySelectorAll("thead th")];
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const rows = [...table.tBodies[0].rows].map((row, place) => [sortKey(row.cells[column]), place, row]);
      const before = header.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : rows.some(([key]) => typeof key === "number");
      rows.sort((a, b) => compare(a[0], b[0], descending ? -1 : 1) || a[1] - b[1]);
      table.tBodies[0].append(...rows.map(([, , row]) => row));
      markSorted(headers, header, descending);
    });
  });
}

function makeSearchable(table) {
  const label = element("label", table.dataset.search);
  const input = element("input");
  input.type = "search";
  label.append(input);
  const box = element("div", undefined, "controls");
  box.append(label);
  table.closest(".scroll").before(box);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
for (const table of document.querySelectorAll("table[data-search]")) makeSearchable(table);
for (const box of document.querySelectorAll(".copy")) {
  box.querySelector("button").addEventListener("click", async (event) => {
    const text = box.querySelector("pre");
    try {
      await navigator.clipboard.writeText(text.textContent);
      event.target.textContent = "Copied";
    } catch {  // a page from a file may not have the clipboard: select the text, so that one key copies it
      getSelection().selectAllChildren(text);
      event.target.textContent = "Selected";
    }
  });
}
