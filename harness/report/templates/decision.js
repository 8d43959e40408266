// The form: reads goal and bounds, asks decide(), writes the answer. Text is set as text, never as markup.
const told = JSON.parse(document.getElementById("candidates").textContent);
const byId = new Map(told.candidates.map((one) => [one.id, one]));
const units = {
  memory: (value) => (value >= 1e9 ? `${(value / 1e9).toPrecision(3)} GB` : `${(value / 1e6).toPrecision(3)} MB`),
  loss: (value) => `${Number((100 * value).toPrecision(3))} %`,
  seconds: (value) => (value >= 3600 ? `${(value / 3600).toPrecision(3)} h`
    : value >= 60 ? `${(value / 60).toPrecision(3)} min` : `${Number(value.toPrecision(3))} s`),
  speed: (value) => `${value >= 100 ? Math.round(value) : value.toPrecision(3)} tokens/s`,
};
const words = { memory: "memory", loss: "quality loss", seconds: "time" };
const titles = { ...words, speed: "speed" };

// A slider stands at one of the bounds that make a difference: every candidate's own, a little above.
function stops(name) {
  const ends = told.candidates.map((one) => one[name]).filter((amount) => amount !== null).map((amount) => amount[2]);
  return [...new Set(ends)].sort((a, b) => a - b);
}

const form = document.getElementById("decision");
const sliders = {};
for (const name of Object.keys(words)) {
  const slider = form.querySelector(`input[type=range][name=${name}]`);
  const values = stops(name);
  slider.max = String(values.length);
  slider.value = String(values.length);
  const given = told.bounds[name];
  if (given !== undefined) {
    values.push(given);
    values.sort((a, b) => a - b);
    slider.max = String(values.length);
    slider.value = String(values.indexOf(given));
  }
  sliders[name] = { slider, values, shown: form.querySelector(`output[data-of=${name}]`) };
}

function bounds() {
  const found = {};
  for (const [name, { slider, values, shown }] of Object.entries(sliders)) {
    const place = Number(slider.value);
    const text = place < values.length ? `at most ${units[name](values[place])}` : "no limit";
    if (place < values.length) found[name] = values[place];
    shown.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }
  return found;
}

function line(one, state, kind) {
  const row = element("tr", undefined, kind);
  row.append(named("td", one.method, "method"), element("td", one.precision, "word"), element("td", state, "reason"));
  for (const name of ["loss", "memory", "seconds", "speed"]) {
    row.append(element("td", one[name] === null ? "-" : units[name](one[name][0]), "number"));
  }
  return row;
}

function answer() {
  const goal = form.querySelector("input[name=goal]:checked").value;
  const found = decide(told.candidates, bounds(), goal);
  const body = document.getElementById("answer");
  const rows = found.ranked.map((id, place) => {
    const state = place === 0 ? "recommended" : found.tied.includes(id) ? "tied with it" : "qualifies";
    return line(byId.get(id), state, place ? "" : "baseline");
  });
  for (const miss of found.excluded) {
    const why = Object.entries(miss.needs).map(([name, needed]) =>
      needed === null ? `${titles[name]} not measured` : `${titles[name]} up to ${units[name](needed)}`);
    rows.push(line(byId.get(miss.id), `${miss.undecided ? "undecided" : "no"}: ${why.join(", ")}`, "skipped"));
  }
  body.replaceChildren(...rows);
  const winner = found.ranked.length ? byId.get(found.ranked[0]) : null;
  const ties = found.tied.length ? `, tied with ${found.tied.length} more` : "";
  document.getElementById("winner").textContent = winner === null
    ? "Nothing meets these constraints; the nearest misses come first."
    : `${winner.method} at ${winner.precision}${ties}`;
}

form.addEventListener("input", answer);
form.addEventListener("submit", (event) => event.preventDefault());
answer();
