// The map: one stop of the Tab key, arrows inside; pointing shows, clicking or moving chooses.
const WORDS = {
  lost: "the gradient of the parameters behind it is lost", wrong: "the gradient becomes wrong: nonzero, and not the derivative",
  raises: "backward() raises an error", nothing: "no gradient changes", other: "another effect", unmeasured: "not among the measured mutants",
};
const MANY = 12;

function* numbers(ranges) {
  for (const [first, last] of ranges) for (let at = first; at <= last; at += 1) yield at;
}

function tellParameters(box, title, ranges) {
  const all = [...numbers(ranges)];
  if (!all.length) return;
  const weights = all.reduce((sum, at) => sum + data.map.parameters[at][1], 0);
  box.append(element("h4", `${title}: ${all.length} (${weights.toLocaleString("en")} weights)`));
  const list = (some) => {
    const made = element("ul");
    made.append(...some.map((at) => element("li", data.map.parameters[at][0], "mono")));
    return made;
  };
  box.append(list(all.slice(0, MANY)));
  if (all.length > MANY) {
    const more = element("details");
    more.append(element("summary", `${all.length - MANY} more`), list(all.slice(MANY)));
    box.append(more);
  }
}

function tellCut(box, spot) {
  const [row, cut, invisible, share, , asked, lost, altered] = spot;
  const line = element("p", `Cut here: ${WORDS[cut]}`, `verdict ${cut}`);
  if (invisible) line.append(" – invisible");
  box.append(line);
  if (share) box.append(element("p", `${percentage(share)} of the weights lose their gradient`));
  if (row >= 0) tellNoticed(box, mutant(row).who, asked);
  const measured = row >= 0 ? "" : " by structure";
  tellParameters(box, `Severed parameters${measured}`, lost);
  tellParameters(box, `Altered parameters${measured}`, altered);
  if (row >= 0) tellCommand(box, mutant(row).text);
}

function tellSite(box, at) {
  const [name, op, module, line, kind] = data.map.nodes[at];
  box.replaceChildren(element("h3", name));
  box.append(element("p", [op, module && `module ${module}`, kind.split(".").pop()].filter(Boolean).join(" · ")));
  if (line) box.append(element("p", line, "mono muted"));
  tellCut(box, data.map.spots[at]);
  for (const [from, ...spot] of data.map.edges[at] || []) {
    const part = element("details");
    const told = element("summary", `Cut only what it reads of ${data.map.nodes[from][0]}: `);
    told.append(element("span", spot[1] === "wrong" ? "gradient wrong" : WORDS[spot[1]], `verdict ${spot[1]}`));
    part.append(told);
    tellCut(part, spot);
    box.append(part);
  }
}

function startMap() {
  const sites = [...document.querySelectorAll("#sites .site")];
  const box = document.getElementById("detail"), strip = document.getElementById("strip"), list = document.getElementById("map-list");
  let chosen = -1;
  const show = (at) => {
    tellSite(box, at);
    strip.querySelector(".here").setAttribute("x", at);
  };
  const choose = (at, focus) => {
    if (chosen >= 0) sites[chosen].setAttribute("aria-selected", "false");
    for (const site of sites) if (site.tabIndex === 0) site.tabIndex = -1;
    chosen = at;
    sites[at].setAttribute("aria-selected", "true");
    sites[at].tabIndex = 0;
    if (focus) sites[at].focus({preventScroll: true});
    const top = sites[at].offsetTop, room = list.clientHeight;
    if (top < list.scrollTop + 30 || top > list.scrollTop + room - 60) list.scrollTop = top - room / 2;
    show(at);
  };
  const shown = (at, step) => {
    for (let next = at + step; next >= 0 && next < sites.length; next += step) if (!sites[next].classList.contains("dim")) return next;
    return at;
  };
  sites.forEach((site, at) => {
    site.addEventListener("click", () => choose(at, true));
    site.addEventListener("focus", () => chosen === at || choose(at, false));
    site.addEventListener("mouseenter", () => show(at));
    site.addEventListener("keydown", (event) => {
      const to = {ArrowDown: () => shown(at, 1), ArrowUp: () => shown(at, -1), Home: () => shown(-1, 1), End: () => shown(sites.length, -1)}[event.key];
      if (!to) return;
      event.preventDefault();
      choose(to(), true);
    });
  });
  document.getElementById("sites").addEventListener("mouseleave", () => chosen >= 0 && show(chosen));
  strip.addEventListener("click", (event) => {
    const place = strip.getBoundingClientRect();
    choose(Math.min(sites.length - 1, Math.max(0, Math.floor(((event.clientX - place.left) / place.width) * sites.length))), true);
  });
  const has = (site, cut) => site.classList.contains(cut) || site.classList.contains(`use-${cut}`);
  const buttons = [...document.querySelectorAll(".legend button")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      for (const other of buttons) other.setAttribute("aria-pressed", String(on && other === button));
      for (const site of sites) site.classList.toggle("dim", on && !has(site, button.dataset.cut));
      const first = sites.findIndex((site) => !site.classList.contains("dim"));
      if (on && first >= 0) list.scrollTop = sites[first].offsetTop - list.clientHeight / 3;
    });
  }
  const worst = data.map.spots.findIndex((spot) => spot[2] && spot[4] === 0);
  show(worst >= 0 ? worst : 0);
}
if (data && data.map) startMap();
