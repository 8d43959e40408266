// The table and the picture of "Explore": what is shown is kept in the address. Text is set as text, never as markup.
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
  const text = Math.abs(number) >= 1000 ? Math.round(number).toLocaleString("en").replaceAll(",", " ")
    : String(Number(number.toPrecision(4)));
  return scale[1] ? `${text} ${scale[1]}` : text;
}

function titleOf(metric) {
  return metric.task ? `${metric.label} (${metric.task})` : metric.label;
}

const address = new URLSearchParams(location.hash.startsWith("#explore?") ? location.hash.slice(9) : "");
const view = {
  filter: address.get("filter") || "",
  sort: address.get("sort") || "",
  down: address.get("down") === "1",
  x: address.get("x") || "",
  y: address.get("y") || "",
};

function matches(row) {
  const text = [row.method, row.precision, row.model, row.data, row.hardware, row.status].join(" ").toLowerCase();
  return view.filter.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function sortKey(row) {
  if (metricOf.has(view.sort)) return row.numbers[view.sort] ? row.numbers[view.sort][0] : null;
  return view.sort in row ? row[view.sort] : null;
}

function inOrderOf(first, other) {
  const one = sortKey(first), two = sortKey(other);
  if (one === null || two === null) return (one === null) - (two === null);
  const order = one < two ? -1 : one > two ? 1 : 0;
  return view.down ? -order : order;
}

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

const words = ["method", "precision", "model", "data", "hardware", "status"]
  .filter((name) => name === "method" || new Set(explored.rows.map((row) => row[name])).size > 1);

function head() {
  const row = document.createElement("tr");
  const columns = [...words.map((name) => [name, name[0].toUpperCase() + name.slice(1), "", name]),
    ...explored.metrics.map((one) => [one.key, one.label, one.task, "number"])];
  for (const [key, label, note, kind] of columns) {
    const cell = element("th", undefined, kind === "number" ? "number" : "word");
    cell.scope = "col";
    cell.setAttribute("aria-sort", view.sort === key ? (view.down ? "descending" : "ascending") : "none");
    const button = element("button", label + (view.sort === key ? (view.down ? " ▾" : " ▴") : ""));
    button.type = "button";
    button.addEventListener("click", () => {
      view.down = view.sort === key ? !view.down : (metricOf.get(key) || {}).direction === "higher";
      view.sort = key;
      show();
    });
    cell.append(button);
    if (note) cell.append(element("small", note));
    row.append(cell);
  }
  return row;
}

function line(found) {
  const row = document.createElement("tr");
  if (found.status !== "done") row.className = "skipped";
  for (const name of words) row.append(element("td", found[name], name === "method" ? "method" : "word"));
  for (const one of explored.metrics) {
    const number = found.numbers[one.key];
    const cell = element("td", number ? shown(number[0], one.unit) : "-", "number");
    if (number && number[1] !== null && number[1] !== number[2]) {
      cell.append(element("small", `[${shown(number[1], one.unit)}, ${shown(number[2], one.unit)}]`));
    }
    row.append(cell);
  }
  return row;
}

function beaten(point, points, x, y) {
  const sign = { lower: 1, higher: -1 };
  return points.some((other) => {
    if (other.where !== point.where) return false;  // another model, text or machine is no comparison
    const a = sign[x.direction] * (other.x - point.x), b = sign[y.direction] * (other.y - point.y);
    return a <= 0 && b <= 0 && (a < 0 || b < 0);
  });
}

function scaled(number, metric) {
  return metric.unit === "B" ? number.map((value) => (value === null ? null : value / 2 ** 20)) : number;
}

function picture(rows) {
  const x = metricOf.get(view.x), y = metricOf.get(view.y);
  const points = rows.filter((row) => row.numbers[x.key] && row.numbers[y.key]).map((row) => {
    const [across, up] = [scaled(row.numbers[x.key], x), scaled(row.numbers[y.key], y)];
    return { where: JSON.stringify([row.model, row.data, row.hardware]), label: `${row.method} · ${row.precision}`, x: across[0], x1: across[1] ?? across[0], x2: across[2] ?? across[0],
             y: up[0], y1: up[1] ?? up[0], y2: up[2] ?? up[0] };
  });
  const judged = x.direction !== "none" && y.direction !== "none";
  for (const point of points) {
    const rivals = points.filter((other) => other.where === point.where).length > 1;
    point.best = judged && rivals && !beaten(point, points, x, y);
    point.name = point.best ? point.label : "";
  }
  const axis = (metric) => ({ type: "quantitative", scale: { zero: false },
    title: metric.unit === "B" ? `${titleOf(metric)}, MiB` : titleOf(metric),
    axis: metric.unit === "share" ? { format: ".3~%" } : {} });
  const color = { condition: { test: "datum.best", value: "#0b6e4f" }, value: "#8a939c" };
  const spec = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json", width: 640, height: 360, data: { values: points },
    encoding: { color },
    layer: [
      { mark: { type: "rule", opacity: 0.6 }, encoding: { x: { field: "x1", ...axis(x) }, x2: { field: "x2" },
        y: { field: "y", ...axis(y) } } },
      { mark: { type: "rule", opacity: 0.6 }, encoding: { x: { field: "x", ...axis(x) }, y: { field: "y1", ...axis(y) },
        y2: { field: "y2" } } },
      { mark: { type: "point", filled: true, size: 70 }, encoding: { x: { field: "x", ...axis(x) },
        y: { field: "y", ...axis(y) }, tooltip: [{ field: "label", title: "method" }, { field: "x", title: x.label },
          { field: "y", title: y.label }] } },
      { mark: { type: "text", align: "left", dx: 7, dy: -6, fontSize: 11 }, encoding: { x: { field: "x", ...axis(x) },
        y: { field: "y", ...axis(y) }, text: { field: "name" } } },
    ],
  };
  const place = document.getElementById("explore-picture");
  const options = { actions: false, renderer: "svg", config: look(), mode: "vega-lite", logLevel: 1 };
  window.vegaEmbed(place, spec, options).catch((error) => { place.textContent = String(error); });
  const best = points.filter((point) => point.best).map((point) => point.label);
  document.getElementById("explore-best").textContent = judged && best.length
    ? `No method beats on both: ${best.join("; ")}.` : "";
}

function show() {
  const rows = explored.rows.filter(matches);
  const sorted = view.sort ? [...rows].sort(inOrderOf) : rows;
  document.getElementById("explore-head").replaceChildren(head());
  document.getElementById("explore-rows").replaceChildren(...sorted.slice(0, MOST).map(line));
  document.getElementById("explore-count").textContent = sorted.length > MOST
    ? `${MOST} of ${sorted.length} rows; filter to see the others` : `${sorted.length} of ${explored.rows.length} rows`;
  picture(rows);
  const kept = new URLSearchParams(Object.entries(view).filter(([, value]) => value)
    .map(([name, value]) => [name, value === true ? "1" : value]));
  history.replaceState(null, "", kept.size && started ? `#explore?${kept}` : location.hash || " ");
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
  select.addEventListener("change", () => { view[name] = select.value; show(); });
}

const judged = explored.metrics.filter((one) => one.direction !== "none");
const quality = judged.find((one) => one.task && one.unit !== "B" && one.unit !== "s") || explored.metrics[0];
choose("x", (judged.find((one) => one.key !== quality.key && one.unit === "B") || explored.metrics.at(-1)).key);
choose("y", quality.key);
const filter = controls.querySelector("input[name=filter]");
filter.value = view.filter;
filter.addEventListener("input", () => { view.filter = filter.value; show(); });
controls.addEventListener("submit", (event) => event.preventDefault());
let started = false;
show();
started = true;
dark.addEventListener("change", show);
