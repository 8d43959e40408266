// Draws every figure of the page from the specification beside it, again when the colour scheme changes.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const ink = { light: ["#1f2328", "#59636e", "#d1d9e0"], dark: ["#e6edf3", "#9aa4af", "#3d444d"] };
// The two darkest of the figures' colours as they are seen on black.
const lighter = { "#332288": "#8579de", "#882255": "#c9578f" };

function look() {
  const [text, quiet, line] = ink[dark.matches ? "dark" : "light"];
  return {
    background: null,
    font: "system-ui, 'DejaVu Sans', sans-serif",
    axis: { labelColor: quiet, titleColor: text, gridColor: line, domainColor: line, tickColor: line },
    legend: { labelColor: quiet, titleColor: text },
    title: { color: text, subtitleColor: quiet },
    text: { color: quiet },
    view: { stroke: line },
  };
}

// What another script draws with; until it is here the page's own picture waits for "drawable".
window.drawFigure = (place, spec, options) =>
  window.vegaEmbed(place, spec, { actions: false, renderer: "svg", config: look(), mode: "vega-lite", logLevel: 1, ...options })
    .catch((error) => { place.textContent = String(error); });

function draw() {
  for (const place of document.querySelectorAll("[data-figure]")) {
    const spec = document.getElementById(`spec-${place.dataset.figure}`).textContent;
    window.drawFigure(place, JSON.parse(dark.matches ? spec.replace(/#332288|#882255/g, (color) => lighter[color]) : spec));
  }
  document.dispatchEvent(new Event("drawable"));
}

draw();
dark.addEventListener("change", draw);
