"""The report for programs: a comparison as plain values, fit for JSON."""

import math
from typing import Any

from ctxembed.evaluation.intervals import Estimate
from ctxembed.evaluation.result import Comparison, Figures, RunResult


def as_json(result: Comparison) -> dict[str, Any]:
    """Return what the report says, without its texts and its map; no interval is None."""
    changes = result.changes
    return {
        "collection": result.collection,
        "documents": result.documents,
        "queries": result.queries,
        "unanswered": result.unanswered,
        "simulated": result.simulated or None,
        "verdict": result.verdict,
        "runs": [_run(run) for run in result.runs],
        "neighbours_beyond_contextual": result.beyond and _figures(result.beyond),
        "first_hits": changes
        and {"helped": changes.helped, "hurt": changes.hurt, "other": changes.other},
        "provenance": dict(result.provenance),
    }


def _run(run: RunResult) -> dict[str, Any]:
    return {
        "name": run.label,
        "settings": dict(run.settings),
        "figures": _figures(run.figures),
        "difference_to_first": _figures(run.gain),
        "chunks": run.chunks,
        "tokens": run.tokens,
        "seconds": run.seconds,
        "bytes_per_chunk": run.bytes_per_chunk,
        "unbeaten": run.best,
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {str(metric): _estimate(found) for metric, found in figures.items()}


def _estimate(found: Estimate) -> dict[str, float | None]:
    low, high = (None if math.isnan(end) else end for end in (found.low, found.high))
    return {"value": found.value, "low": low, "high": high}
