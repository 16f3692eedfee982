"""The report: one HTML file that needs nothing else, in light and dark.

Texts of documents and queries are escaped by the template engine, and the page's own policy
forbids scripts and every request.
"""

from pathlib import Path

from ctxembed.evaluation.metrics import METRICS
from ctxembed.evaluation.result import Comparison
from ctxembed.evaluation.words import INTERVALS, UNBEATEN, difference, interval, seconds, summary
from ctxembed.files.replacement import Replacement

_FOLDER = Path(__file__).parent


def report(result: Comparison, out: Path) -> None:
    """Write a comparison as one HTML file; an older one stays until the new one is complete."""
    page = render(result)
    with Replacement(out) as replacement:
        replacement.file.write(page.encode())
        replacement.publish()


def render(result: Comparison) -> str:
    """Return the report as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from ctxembed.evaluation.plots import figures_svg, heat_map_svg, sweep_svg

    engine = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters |= {"interval": interval, "difference": difference, "seconds": seconds}
    style = (_FOLDER / "report.css").read_text(encoding="utf-8")
    heat_map = result.heat_map
    swept = len(result.methods) < len(result.runs)
    return engine.get_template("report.html").render(
        result=result,
        metrics=METRICS,
        style=Markup(style),  # noqa: S704 - our own file
        summary=summary(result),
        intervals=INTERVALS,
        unbeaten=UNBEATEN,
        figures=Markup(figures_svg(result.methods)),  # noqa: S704 - numbers and our own words
        sweep=swept and Markup(sweep_svg(result.runs)),  # noqa: S704 - the same
        heat_map=heat_map and Markup(heat_map_svg(heat_map)),  # noqa: S704 - the same
    )
