// What the page knows: the columns of the table of mutants, decoded one mutant at a time.
const source = document.getElementById("data");
const data = source ? JSON.parse(source.textContent) : null;
const SILENT = 1, SAME_LOSS = 2, FAULT = 4;

function mutant(row) {
  const m = data.mutants;
  const [site, kind, module, line] = m.sites[m.site[row]];
  const [operator, family] = m.operators[m.operator[row]];
  const [effect, cause] = m.outcomes[m.outcome[row]];
  const flags = m.flags[row];
  const silent = Boolean(flags & SILENT), fault = Boolean(flags & FAULT);
  const variant = m.variant[row] ? `#${m.variant[row]}` : "";
  return {
    row, site: site + variant, kind, module, line, operator, family, effect, cause, silent, fault,
    invisible: silent && Boolean(flags & SAME_LOSS), lost: m.losts[m.lost[row]], asked: m.asked[row],
    who: m.patterns[m.who[row]].map((place) => data.detectors[place]), text: `${data.subject}::${operator}::${site}${variant}`,
  };
}

function percentage(share) {
  return `${(100 * share).toFixed(share && share < 0.001 ? 3 : 1)} %`;
}

// As a POSIX shell reads it.
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

function tellNoticed(box, who, asked) {
  if (!asked) box.append(element("p", "No detector was asked."));
  else if (!who.length) box.append(element("p", `Nobody of ${asked} noticed.`, "verdict lost"));
  else box.append(element("p", `Noticed by ${who.length} of ${asked}: ${who.join(", ")}`));
}

function tellCommand(box, text) {
  box.append(element("h4", "See it"));
  box.append(element("pre", `gradfuzz show ${quoted(text)}${data.options}`));
}

function tellMutant(box, one) {
  const what = one.cause ? `${one.effect}, ${one.cause}` : one.effect;
  const how = one.invisible && one.fault ? ", invisible" : one.silent && one.fault ? ", silent" : "";
  box.replaceChildren(element("h3", `${one.operator} at ${one.site}`));
  box.append(element("p", `${what}${how}; ${one.lost.toLocaleString("en")} weights lost`));
  if (one.module || one.line) box.append(element("p", [one.module, one.line].filter(Boolean).join(" · "), "mono muted"));
  tellNoticed(box, one.who, one.asked);
  tellCommand(box, one.text);
}
