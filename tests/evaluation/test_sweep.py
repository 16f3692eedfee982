"""Combinations of settings, and what is said of a bad one."""

import pytest

from ctxembed import ModelSpec, Settings
from ctxembed.errors import ConfigurationError
from ctxembed.evaluation.sweep import Variant, parse_vary, variants

BASE = Variant(Settings(model="minilm"), 64)


def test_every_combination_is_a_variant():
    """In the order of the options, the last one changing fastest."""
    found = variants(BASE, parse_vary(["chunk-tokens=32,64", "encoding=int8,ubinary"]))

    assert [(32, "int8"), (32, "ubinary"), (64, "int8"), (64, "ubinary")] == [
        (each.chunk_tokens, each.settings.encoding) for each in found
    ]
    assert [BASE] == variants(BASE, {})


def test_values_become_what_their_settings_take():
    vary = parse_vary(["context_weight=0, 0.5", "dimensions=128", "search=two_stage"])

    assert {"context_weight": [0.0, 0.5], "dimensions": [128], "search": ["two_stage"]} == vary


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("chunk_tokens", "takes NAME=VALUE,VALUE"),
        ("chunk_tokens=", "takes NAME=VALUE,VALUE"),
        ("chunk_tokens=64,,128", "takes NAME=VALUE,VALUE"),
        ("chunk_tokens=many", "takes numbers, got 'many'"),
        ("model=a,b", "'model' cannot be varied"),
        ("search=fast", "search is 'nearest' or 'two_stage', got 'fast'"),
        ("encoding=int4", "encoding"),
        ("context_weight=2", "context_weight is a number from 0 to 1"),
    ],
)
def test_a_bad_option_is_refused(option, reason):
    with pytest.raises(ConfigurationError, match=reason):
        variants(BASE, parse_vary([option]))


def test_what_makes_no_difference_does_not_tell_variants_apart():
    """Without context the window is no matter; a default is what it stands for."""
    spec = ModelSpec(name="fake", dimensions=16, max_tokens=100)

    def resolved(**changes):
        return Variant(Settings(model="fake", **changes), 64).resolved(spec)

    assert resolved(context_weight=0, window_tokens=50) == resolved(context_weight=0)
    assert resolved() == resolved(context_weight=0.5, neighbour_weight=0.1, dimensions=16)
    assert resolved(window_tokens=50) != resolved()
