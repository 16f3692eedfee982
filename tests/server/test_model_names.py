"""Which model ids are answered where."""

from dataclasses import replace

import pytest
from starlette.exceptions import HTTPException

from ctxembed import MODELS, ConfigurationError, ModelSpec, find_model
from ctxembed.server.model_names import (
    check_aliases,
    check_model,
    model_names,
    official_model,
    routes_by_name,
)
from ctxembed.wire import CONTEXTUAL_PATH, INDEPENDENT_PATH

CONTEXT_06, CONTEXT_4, PLAIN_06, PLAIN_4, _ = MODELS
OTHER = ModelSpec(name="/models/mine", dimensions=384, max_tokens=510)


@pytest.mark.parametrize("spec", [CONTEXT_06, CONTEXT_4])
def test_a_contextual_checkpoint_answers_its_own_ids_on_the_contextual_route(spec):
    names = model_names(spec, 1.0)
    assert set(names[CONTEXTUAL_PATH]) == {spec.name, *spec.aliases}
    assert names[INDEPENDENT_PATH] == ()


@pytest.mark.parametrize("spec", [PLAIN_06, PLAIN_4])
def test_an_independent_checkpoint_answers_its_own_ids_on_the_other_route(spec):
    names = model_names(spec, 0.0)
    assert set(names[INDEPENDENT_PATH]) == {spec.name, *spec.aliases}
    assert names[CONTEXTUAL_PATH] == ()


@pytest.mark.parametrize("known", [CONTEXT_06, CONTEXT_4, PLAIN_06, PLAIN_4])
def test_a_directory_is_recognised_by_the_facts_of_its_configuration(known):
    spec = replace(known, name="/models/copy", price=None, aliases=())
    assert official_model(spec) is known


def test_another_width_is_not_recognised():
    assert official_model(replace(CONTEXT_06, name="/models/tiny", dimensions=64)) is None


def test_a_model_of_the_table_that_the_api_does_not_have_is_not_recognised():
    assert official_model(find_model("minilm")) is None


def test_an_unrecognised_checkpoint_answers_all_official_ids_on_their_routes():
    names = model_names(OTHER, 0.5)
    for spec in (CONTEXT_06, CONTEXT_4):
        assert {spec.name, *spec.aliases} <= set(names[CONTEXTUAL_PATH])
    for spec in (PLAIN_06, PLAIN_4):
        assert {spec.name, *spec.aliases} <= set(names[INDEPENDENT_PATH])
    assert len(routes_by_name(names)) == 8
    assert "minilm" in model_names(find_model("minilm"), 0.5)[INDEPENDENT_PATH]


def test_a_model_that_gives_no_context_answers_no_contextual_route():
    names = model_names(OTHER, 0.0)
    assert names[CONTEXTUAL_PATH] == ()
    with pytest.raises(HTTPException, match="for /v1/embeddings"):
        check_model(names, "pplx-embed-context-v1-0.6b", CONTEXTUAL_PATH)


def test_an_alias_is_answered_wherever_the_model_is():
    assert "mine" in model_names(CONTEXT_06, 1.0, ["mine"])[CONTEXTUAL_PATH]
    assert "mine" not in model_names(CONTEXT_06, 1.0, ["mine"])[INDEPENDENT_PATH]
    both = model_names(OTHER, 0.5, ["mine"])
    assert routes_by_name(both)["mine"] == [CONTEXTUAL_PATH, INDEPENDENT_PATH]


def test_an_alias_is_never_the_name_of_another_model():
    for alias in ("pplx-embed-context-v1-4b", "Perplexity-AI/pplx-embed-v1-0.6b", "minilm"):
        with pytest.raises(ConfigurationError, match="another model would answer for it"):
            model_names(CONTEXT_06, 1.0, [alias])
    with pytest.raises(ConfigurationError, match="minilm"):
        model_names(OTHER, 0.5, ["all-MiniLM-L6-v2-int8"])
    assert "PPLX-EMBED-V1-4B" in model_names(OTHER, 0.5, ["PPLX-EMBED-V1-4B"])[INDEPENDENT_PATH]
    for alias in ("", " ", " a", "a\n", "\x00"):
        with pytest.raises(ConfigurationError, match="alias"):
            check_aliases([alias])


def test_a_refusal_names_what_is_answered():
    names = model_names(CONTEXT_06, 1.0)
    with pytest.raises(
        HTTPException, match=r"this server answers pplx-embed-context-v1-0\.6b"
    ) as caught:
        check_model(names, "pplx-embed-context-v1-4b", CONTEXTUAL_PATH)
    assert caught.value.status_code == 400
    with pytest.raises(HTTPException, match="is for /v1/contextualizedembeddings"):
        check_model(names, "pplx-embed-context-v1-0.6b", INDEPENDENT_PATH)
