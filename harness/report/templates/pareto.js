// The picture of "Explore": any two metrics against each other, intervals drawn, what nothing beats on both marked.
const MOST_NAMED = 30;
const MOST_DRAWN = 500;  // above it on a canvas: tens of thousands of elements make a browser slow

// Sets "best" on the points that no other of the same model, text and machine is as good as on both and better on one.
function markBest(points, x, y) {
  const sign = { lower: 1, higher: -1 };
  const groups = {};
  for (const point of points) (groups[point.where] ??= []).push(point);
  for (const group of Object.values(groups)) {
    const cost = (point) => [sign[x.direction] * point.x, sign[y.direction] * point.y];
    const sorted = group.map((point) => [point, ...cost(point)]).sort((a, b) => a[1] - b[1] || a[2] - b[2]);
    let before = Infinity, across = -Infinity, here = Infinity;  // the least upwards of all further left, and of this place
    for (const [point, a, b] of sorted) {
      if (a > across) [before, across, here] = [Math.min(before, here), a, b];
      point.best = group.length > 1 && b === here && b < before;
    }
  }
}

function pointsOf(rows, x, y) {
  const scaled = (number, metric) => (metric.unit === "B" ? number.map((one) => (one === null ? null : one / 2 ** 20)) : number);
  return rows.filter((row) => row.numbers[x.key] && row.numbers[y.key]).map((row) => {
    const [across, up] = [scaled(row.numbers[x.key], x), scaled(row.numbers[y.key], y)];
    return { where: JSON.stringify([row.model, row.data, row.hardware]), label: `${row.method} · ${row.precision}`,
      x: across[0], x1: across[1], x2: across[2], y: up[0], y1: up[1], y2: up[2], best: false };
  });
}

function figureOf(points, x, y, width) {
  const axis = (metric) => ({ type: "quantitative", scale: { zero: false }, axis: { labelFlush: false, labelSeparation: 8, titleFontWeight: "normal",
    titleLimit: 300, title: metric.unit === "B" ? `${titleOf(metric)}, MiB` : titleOf(metric), ...(metric.unit === "share" ? { format: ".3~%" } : {}) } });
  const at = { x: { field: "x", ...axis(x) }, y: { field: "y", ...axis(y) } };
  const tooltip = [{ field: "label", title: "method" }, { field: "x", title: x.label }, { field: "y", title: y.label }];
  const color = { condition: { test: "datum.best", value: marked() }, value: "#8a939c" };
  const rule = (test, encoding) => ({ transform: [{ filter: test }], mark: { type: "rule", opacity: 0.6 },
    encoding: { ...at, ...encoding, color } });
  const dots = (name, test, mark) => ({ name, transform: [{ filter: test }], encoding: { ...at, color, tooltip },
    mark: { type: "point", filled: true, opacity: 0.9, ...mark } });
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json", width, height: 340,
    autosize: { type: "fit", contains: "padding" }, data: { values: points },
    layer: [
      rule("datum.x1 !== null && datum.x1 < datum.x2", { x: { field: "x1", ...axis(x) }, x2: { field: "x2" } }),
      rule("datum.y1 !== null && datum.y1 < datum.y2", { y: { field: "y1", ...axis(y) }, y2: { field: "y2" } }),
      dots("others", "!datum.best", { size: 60 }),
      dots("best", "datum.best", { size: 110, shape: "diamond" }),
    ],
  };
}

function marked() {
  return getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
}

// Names beside the marked points, where they fit without covering one another; the list below has all of them.
function withNames(vega, others) {
  vega.marks.push({
    type: "text", from: { data: "best_marks" }, interactive: false,
    encode: { enter: { text: { field: "datum.label" }, fill: { value: marked() }, fontSize: { value: 11 } } },
    transform: [{ type: "label", size: { signal: "[max(width, 1), max(height, 1)]" }, offset: [3], avoidMarks: others ? ["others_marks"] : [],
      anchor: ["right", "left", "top", "bottom", "top-right", "bottom-right", "top-left", "bottom-left"] }],
  });
  return vega;
}

function picture(rows, x, y) {
  const points = pointsOf(rows, x, y);
  const judged = x.direction !== "none" && y.direction !== "none";
  if (judged) markBest(points, x, y);
  const place = document.getElementById("explore-picture");
  const best = points.filter((point) => point.best).map((point) => point.label);
  window.drawFigure(place, figureOf(points, x, y, place.clientWidth), {
    renderer: points.length > MOST_DRAWN ? "canvas" : "svg",
    patch: (vega) => (best.length ? withNames(vega, best.length < points.length) : vega),
  });
  const others = best.length > MOST_NAMED ? ` and ${shown(best.length - MOST_NAMED, "1")} more` : "";
  document.getElementById("explore-best").textContent = best.length
    ? `No method beats on both: ${best.slice(0, MOST_NAMED).join("; ")}${others}.`
    : points.length ? "" : "No method has both numbers.";
}
