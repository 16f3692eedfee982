"""What context is worth on your documents, and which settings to take: measured, with intervals.

`evaluate` does everything for a `Collection`. Its parts can be called by themselves: `cut` makes
chunks, by any splitter; `SharedVectors` makes a `Run` of each setting; `compare` gives figures,
differences and what they mean; `report` writes a page. `load_collection` reads documents and
queries, and `simulate` and `heading_queries` make queries where there are none. Nothing here needs
a terminal. The extra `evaluation` has what is needed.
"""

from ctxembed.evaluation.collection import Collection, Document, Query
from ctxembed.evaluation.comparison import compare
from ctxembed.evaluation.corpus import Corpus, by_tokens, cut
from ctxembed.evaluation.experiment import evaluate
from ctxembed.evaluation.folders import load_collection
from ctxembed.evaluation.heading_queries import heading_queries
from ctxembed.evaluation.html_report import report
from ctxembed.evaluation.known_items import simulate
from ctxembed.evaluation.result import Comparison
from ctxembed.evaluation.run import Run
from ctxembed.evaluation.shared_vectors import SharedVectors

__all__ = [
    "Collection",
    "Comparison",
    "Corpus",
    "Document",
    "Query",
    "Run",
    "SharedVectors",
    "by_tokens",
    "compare",
    "cut",
    "evaluate",
    "heading_queries",
    "load_collection",
    "report",
    "simulate",
]
