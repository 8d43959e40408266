// Draws every figure of the page from the specification beside it, again when the colour scheme changes.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const ink = { light: ["#1f2328", "#59636e", "#d1d9e0"], dark: ["#e6edf3", "#9aa4af", "#3d444d"] };

function look() {
  const [text, quiet, line] = ink[dark.matches ? "dark" : "light"];
  return {
    background: null,
    axis: { labelColor: quiet, titleColor: text, gridColor: line, domainColor: line, tickColor: line },
    legend: { labelColor: quiet, titleColor: text },
    title: { color: text },
    view: { stroke: line },
  };
}

function draw() {
  for (const place of document.querySelectorAll("[data-figure]")) {
    const spec = JSON.parse(document.getElementById(`spec-${place.dataset.figure}`).textContent);
    const options = { actions: false, renderer: "svg", config: look(), mode: "vega-lite", logLevel: 1 };
    window.vegaEmbed(place, spec, options).catch((error) => { place.textContent = String(error); });
  }
}

draw();
dark.addEventListener("change", draw);
