// The table of "Explore": what is shown is kept in the address. Text is set as text, never as markup.
const MOST = 200;
const explored = JSON.parse(document.getElementById("explored").textContent);
const metricOf = new Map(explored.metrics.map((one) => [one.key, one]));
const controls = document.getElementById("explore-controls");
const scales = {
  B: [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]],
  s: [[3600, "h"], [1, "s"], [1e-3, "ms"], [1e-6, "µs"]],
};

function shown(value, unit) {
  if (value === undefined || value === null) return "-";
  if (unit === "share") return `${Number((100 * value).toPrecision(4))} %`;
  const scale = (scales[unit] || [[1, ""]]).find(([size]) => Math.abs(value) >= size) || (scales[unit] || [[1, ""]]).at(-1);
  const number = value / scale[0];
  const text = Math.abs(number) >= 1000 ? Math.round(number).toLocaleString("en").replaceAll(",", "\u00a0")
    : String(Number(number.toPrecision(4)));
  return scale[1] ? `${text} ${scale[1]}` : text;
}

function titleOf(metric) {
  return metric.task ? `${metric.label} (${metric.task})` : metric.label;
}

const linked = location.hash.startsWith("#explore?");
const address = new URLSearchParams(linked ? location.hash.slice(9) : "");
const view = {
  filter: address.get("filter") || "",
  sort: address.get("sort") || "",
  down: address.get("down") === "1",
  x: address.get("x") || "",
  y: address.get("y") || "",
};

for (const row of explored.rows) {
  row.text = [row.method, row.precision, row.model, row.data, row.hardware, row.status].join(" ").toLowerCase();
}

function found() {
  const asked = view.filter.toLowerCase().split(/\s+/);
  return explored.rows.filter((row) => asked.every((word) => row.text.includes(word)));
}

function sortKey(row) {
  if (metricOf.has(view.sort)) return row.numbers[view.sort] ? row.numbers[view.sort][0] : null;
  return words.includes(view.sort) ? row[view.sort] : null;
}

function inOrderOf(first, other) {
  const one = sortKey(first), two = sortKey(other);
  if (one === null || two === null) return (one === null) - (two === null);
  const order = one < two ? -1 : one > two ? 1 : 0;
  return view.down ? -order : order;
}

const words = ["method", "precision", "model", "data", "hardware", "status"]
  .filter((name) => name === "method" || new Set(explored.rows.map((row) => row[name])).size > 1);
const columns = [...words.map((name) => ({ key: name, label: name[0].toUpperCase() + name.slice(1), kind: "word" })),
  ...explored.metrics.map((one) => ({ key: one.key, label: one.label, note: one.task, kind: "number" }))];

// The head stays the same elements, so that a button that was pressed keeps the focus.
for (const column of columns) {
  column.cell = element("th", undefined, column.kind);
  column.cell.scope = "col";
  column.button = element("button", column.label);
  column.button.type = "button";
  column.button.addEventListener("click", () => {
    const down = view.sort === column.key ? !view.down : (metricOf.get(column.key) || {}).direction === "higher";
    change({ sort: column.key, down });
  });
  column.cell.append(column.button);
  if (column.note) column.cell.append(named("small", column.note));
}
const head = element("tr");
head.append(...columns.map((column) => column.cell));
document.getElementById("explore-head").append(head);

function mark({ key, label, cell, button }) {
  const sorted = view.sort === key;
  cell.setAttribute("aria-sort", !sorted ? "none" : view.down ? "descending" : "ascending");
  button.textContent = sorted ? `${label} ${view.down ? "▾" : "▴"}` : label;
}

function line(row) {
  const made = element("tr", undefined, row.status === "done" ? "" : "skipped");
  for (const name of words) made.append(name === "method" ? named("td", row.method, "method") : element("td", row[name], "word"));
  for (const one of explored.metrics) {
    const number = row.numbers[one.key];
    const cell = element("td", number ? shown(number[0], one.unit) : "-", "number");
    if (number && number[1] !== null && number[1] !== number[2]) {
      cell.append(element("small", `[${shown(number[1], one.unit)}, ${shown(number[2], one.unit)}]`));
    }
    made.append(cell);
  }
  return made;
}

function fill() {
  const rows = found();
  const sorted = view.sort ? [...rows].sort(inOrderOf) : rows;
  columns.forEach(mark);
  document.getElementById("explore-rows").replaceChildren(...sorted.slice(0, MOST).map(line));
  const number = (count) => shown(count, "1");
  document.getElementById("explore-count").textContent = sorted.length > MOST
    ? `${MOST} of ${number(sorted.length)} rows; filter to see the others`
    : `${number(sorted.length)} of ${number(explored.rows.length)} rows`;
}

function draw() {
  picture(found(), metricOf.get(view.x), metricOf.get(view.y));
}

let waiting;
function change(values) {
  Object.assign(view, values);
  fill();
  clearTimeout(waiting);
  waiting = setTimeout(() => {  // the picture and the address follow a pause in the typing, not every key
    const kept = Object.entries(view).filter(([, value]) => value).map(([name, value]) => [name, value === true ? "1" : value]);
    history.replaceState(null, "", `#explore?${new URLSearchParams(kept)}`);
    draw();
  }, 150);
}

function choose(name, fallback) {
  const select = controls.querySelector(`select[name=${name}]`);
  for (const one of explored.metrics) {
    const option = element("option", titleOf(one));
    option.value = one.key;
    select.append(option);
  }
  if (!metricOf.has(view[name])) view[name] = fallback;
  select.value = view[name];
  select.addEventListener("change", () => change({ [name]: select.value }));
}

const judged = explored.metrics.filter((one) => one.direction !== "none");
const quality = judged.find((one) => one.task && one.unit !== "B" && one.unit !== "s") || explored.metrics[0];
choose("x", (judged.find((one) => one.key !== quality.key && one.unit === "B") || explored.metrics.at(-1)).key);
choose("y", quality.key);
const filter = controls.querySelector("input[name=filter]");
filter.value = view.filter;
filter.addEventListener("input", () => change({ filter: filter.value }));
controls.addEventListener("submit", (event) => event.preventDefault());
fill();
document.addEventListener("drawable", draw);
let width = window.innerWidth;
window.addEventListener("resize", () => { if (window.drawFigure && width !== (width = window.innerWidth)) draw(); });
if (linked) controls.closest("section").scrollIntoView({ behavior: "instant" });
