"""Tokens and USD of requests: the server's own figures, or else the estimate and the price table.

A server may report anything here. A figure that is not one is left out, and the vectors are kept.
"""

from ctxembed.batches import Batch

Used = tuple[int, float | None]
"""Tokens, and USD where anything is known of a price."""


def add_request(used: Used, batch: Batch, reported: object, price: float | None) -> Used:
    """Return what was used once a batch has been answered.

    `reported` is the `usage` of the answer. `price` is in USD for a million tokens.
    """
    tokens = _figure(reported, "prompt_tokens")
    if tokens is None:
        tokens = _figure(reported, "total_tokens")
    if tokens is None:
        tokens = batch.tokens
    cost = _figure(reported.get("cost"), "total_cost") if isinstance(reported, dict) else None
    if cost is None and price is not None:
        cost = tokens * price / 1e6
    total_tokens, total_cost = used
    if cost is not None:
        total_cost = (total_cost or 0.0) + cost
    return total_tokens + int(tokens), total_cost


def _figure(reported: object, name: str) -> float | None:
    """Return one of the server's figures, None where it is absent or no number from 0 up."""
    value = reported.get(name) if isinstance(reported, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return value
