// The table of all mutants: drawn a page at a time, so that tens of thousands cost nothing until they are looked at.
const PAGE = 25;
const COLUMNS = [
  ["operator", (m) => m.operator], ["site", (m) => m.site, "mono"], ["module", (m) => m.module, "mono"], ["effect", (m) => m.effect],
  ["cause", (m) => m.cause], ["seen", (m) => (!m.fault ? "" : m.invisible ? "invisible" : m.silent ? "silent" : "not silent")],
  ["weights lost", (m) => m.lost, "n"], ["noticed by", (m) => m.who.length, "n"],
];

function startMutants() {
  const m = data.mutants, count = m.site.length;
  const body = document.querySelector("#all tbody"), headers = [];
  const find = document.getElementById("find"), effect = document.getElementById("by-effect"), kind = document.getElementById("by-kind");
  const previous = document.getElementById("previous"), next = document.getElementById("next");
  let rows = [], page = 0, key = null, sign = 1;
  for (const name of [...new Set(m.outcomes.map(([name]) => name))]) effect.append(element("option", name));

  const KINDS = {
    fault: (at) => m.flags[at] & FAULT, silent: (at) => (m.flags[at] & FAULT) && (m.flags[at] & SILENT),
    invisible: (at) => m.flags[at] === (FAULT | SILENT | SAME_LOSS),
    nobody: (at) => (m.flags[at] & FAULT) && m.asked[at] && !m.patterns[m.who[at]].length,
  };
  const tell = (row, button, one) => {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) {
      row.nextSibling.remove();
      return;
    }
    const below = element("tr", undefined, "told"), cell = element("td");
    cell.colSpan = COLUMNS.length;
    tellMutant(cell, one);
    below.append(cell);
    row.after(below);
  };
  const draw = () => {
    const some = rows.slice(page * PAGE, (page + 1) * PAGE);
    body.replaceChildren(...some.map((at) => {
      const one = mutant(at), row = element("tr");
      COLUMNS.forEach(([, value, css], column) => {
        const told = value(one), cell = element("td", undefined, css || "");
        const shown = typeof told === "number" ? (column === COLUMNS.length - 1 ? `${told} of ${one.asked}` : told.toLocaleString("en")) : told;
        if (column === 0) {
          const button = element("button", shown, "link");
          button.type = "button";
          button.setAttribute("aria-expanded", "false");
          button.addEventListener("click", () => tell(row, button, one));
          cell.append(button);
        } else cell.textContent = shown;
        row.append(cell);
      });
      return row;
    }));
    const first = rows.length ? page * PAGE + 1 : 0;
    document.getElementById("found").textContent = `${rows.length.toLocaleString("en")} of ${count.toLocaleString("en")} rows, ${first} to ${page * PAGE + some.length} shown`;
    previous.disabled = page === 0;
    next.disabled = (page + 1) * PAGE >= rows.length;
  };
  const filter = () => {
    const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    // operators and sites are few: search those, then look numbers up
    const operators = m.operators.map((one) => one.join(" ").toLowerCase()), sites = m.sites.map((one) => one.join(" ").toLowerCase());
    const inOperator = wanted.map((word) => operators.map((text) => text.includes(word))), inSite = wanted.map((word) => sites.map((text) => text.includes(word)));
    const outcome = m.outcomes.map(([name]) => !effect.value || name === effect.value), holds = KINDS[kind.value];
    rows = [];
    for (let at = 0; at < count; at += 1) {
      const found = wanted.every((_, word) => inOperator[word][m.operator[at]] || inSite[word][m.site[at]]);
      if (found && outcome[m.outcome[at]] && (!holds || holds(at))) rows.push(at);
    }
    sort();
  };
  const sort = () => {
    if (key !== null) {
      const keys = new Map(rows.map((at) => [at, COLUMNS[key][1](mutant(at))]));
      rows.sort((a, b) => compare(keys.get(a) === "" ? null : keys.get(a), keys.get(b) === "" ? null : keys.get(b), sign) || a - b);
    }
    page = 0;
    draw();
  };
  COLUMNS.forEach(([name, , css], column) => {
    const header = element("th", undefined, css === "n" ? "n" : ""), button = element("button", name);
    header.scope = "col";
    button.type = "button";
    button.addEventListener("click", () => {
      sign = key === column ? -sign : css === "n" ? -1 : 1;
      key = column;
      markSorted(headers, header, sign < 0);
      sort();
    });
    header.append(button);
    headers.push(header);
  });
  document.querySelector("#all thead tr").append(...headers);
  find.addEventListener("input", filter);
  effect.addEventListener("change", filter);
  kind.addEventListener("change", filter);
  previous.addEventListener("click", () => { page -= 1; draw(); });
  next.addEventListener("click", () => { page += 1; draw(); });
  filter();
}
if (data && data.mutants) startMutants();
