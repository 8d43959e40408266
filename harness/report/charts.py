"""What all figures share: sizes, colours, the choice in the legend, and the way from a chart to SVG or a script."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import altair

from harness.plain_text import replaced

WIDTH, HEIGHT = 360, 230
# Told apart with every common colour blindness: Okabe and Ito's (2008), then Paul Tol's muted ones.
COLORS = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#999933", "#332288", "#44aa99",
    "#aa4499", "#ddcc77", "#117733", "#cc6677", "#88ccee", "#7f7f7f",
]  # fmt: skip
FONT = "system-ui, 'DejaVu Sans', sans-serif"
LONGEST = 560  # pixels of a label: methods that differ at their ends are told apart
LONG = 40  # characters of a name, with which a legend stands below the picture
Spec = dict[str, Any]


def specification(chart: Any) -> Spec:
    """The chart as a Vega-Lite specification in plain, rounded values, with the report's look."""
    whole = chart.configure(font=FONT).configure_view(stroke="#8884").configure_axis(
        grid=True, gridOpacity=0.35, labelLimit=LONGEST, labelFlush=False, titleFontWeight="normal", labelFontSize=11,
        titleFontSize=12, labelSeparation=8,
    ).configure_legend(labelLimit=LONGEST, symbolLimit=200, titleFontWeight="normal", labelFontSize=11).configure_title(
        fontWeight="normal", fontSize=13, anchor="start"
    )  # fmt: skip
    spec: Spec = _rounded(whole.to_dict(validate=False))
    return spec


def svg(spec: Mapping[str, Any]) -> str:
    """The specification drawn as SVG on white, without any access to the network."""
    import vl_convert

    drawn = vl_convert.vegalite_to_svg({**spec, "background": "white"}, vl_version=_version(), allowed_base_urls=[])
    return f"{drawn}\n"


def javascript() -> str:
    """Vega, Vega-Lite and the embedding script in one text, safe inside a ``script`` element."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(vl_version=_version())  # type: ignore[call-arg]
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _version() -> str:
    return ".".join(str(altair.SCHEMA_VERSION).split(".")[:2])


def side_by_side(*panels: Any) -> Any:
    """Panels in a row."""
    with shared_legend():
        return altair.hconcat(*panels)


@contextmanager
def shared_legend() -> Iterator[None]:
    """Panels share the choice in the legend on purpose, which altair warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Automatically deduplicated selection parameter")
        yield


def colored(field: str, every: list[str], here: set[str], title: str) -> Any:
    """Colours by place among all of the suite, so that a name has one colour in every figure.

    What is not among the suite's own (a model made on the way) comes after them.
    """
    names = dict.fromkeys([*every, *sorted(here)])
    colors = {value: COLORS[index % len(COLORS)] for index, value in enumerate(names) if value in here}
    scale = altair.Scale(domain=list(colors), range=list(colors.values()))
    below = altair.Legend(orient="bottom", columns=2) if max(map(len, colors), default=0) > LONG else altair.Undefined
    return altair.Color(f"{field}:N", title=title, scale=scale, legend=below)


def pick_by(field: str, name: str) -> Any:
    """A click on the legend shows one entry alone. (Zooming would take the page's scrolling away.)"""
    return altair.selection_point(name=name, fields=[field], bind="legend")


def picked(pick: Any, opacity: float) -> Any:
    return altair.condition(pick, altair.value(opacity), altair.value(0.08))


def _rounded(value: Any) -> Any:
    """Seven significant digits: enough for a picture, and no noise of the last bit; text without what no SVG may hold,
    on which the drawing of a hostile name would end the process.
    """
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, str):
        return replaced(value)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
