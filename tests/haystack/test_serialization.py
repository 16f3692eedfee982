"""Every parameter through dictionaries and YAML, and no key in either."""

import dataclasses
import inspect

import pytest
from haystack import Document, Pipeline
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import ComponentDevice, Secret
from settings_values import VALUES

from ctxembed import Settings
from ctxembed.errors import ConfigurationError
from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
    ContextualTextEmbedder,
)

EMBEDDERS = [ContextualDocumentEmbedder, ContextualTextEmbedder]
SETTINGS = VALUES | {
    "device": ComponentDevice.from_str("cuda:1"),
    "normalize": False,
    "api_key": Secret.from_env_var("ANOTHER_NAME", strict=True),
    "prefix": "<",
    "suffix": ">",
}
OWN = {
    "source_key": "file_path",
    "order_key": None,
    "missing_group": "error",
    "bare_names": "allow",
    "meta_fields_to_embed": ["title", "year"],
    "embedding_separator": " | ",
    "meta_once": True,
    "progress_bar": False,
    "raise_on_failure": False,
}
PARAMETERS = {
    ContextualDocumentEmbedder: SETTINGS | OWN,
    ContextualTextEmbedder: SETTINGS,
}


def in_order(pipeline):
    """Return a pipeline as a dictionary; Haystack loads connections in another order."""
    data = pipeline.to_dict()
    return data | {"connections": sorted(data["connections"], key=str)}


def parameters_of(component):
    return {**inspect.signature(component.__init__).parameters}.keys() - {"self"}


@pytest.mark.parametrize("component", EMBEDDERS)
def test_no_parameter_is_untried(component):
    settings = {field.name for field in dataclasses.fields(Settings)}
    assert parameters_of(component) - settings == PARAMETERS[component].keys() - settings


@pytest.mark.parametrize("component", EMBEDDERS)
def test_every_parameter_survives_a_round_trip(component):
    made = component(**PARAMETERS[component])
    data = made.to_dict()
    again = component.from_dict(data)
    assert data["init_parameters"].keys() == parameters_of(component)
    assert again.to_dict() == data == made.to_dict()
    assert again.settings == made.settings
    assert (again.device, again.api_key) == (made.device, made.api_key)
    for name, value in PARAMETERS[component].items():
        if name not in ("device", "api_key"):
            assert data["init_parameters"][name] == value


@pytest.mark.parametrize("component", EMBEDDERS)
def test_defaults_survive_a_round_trip(component):
    made = component()
    assert made.settings == Settings(normalize=True)
    assert component.from_dict(made.to_dict()).to_dict() == made.to_dict()
    assert component(device=None, api_key=None).to_dict()["init_parameters"]["api_key"] is None


@pytest.mark.parametrize("component", EMBEDDERS)
def test_a_key_is_serialised_by_the_name_of_its_variable(component, monkeypatch):
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-do-not-tell")
    made = component()
    text = f"{made.to_dict()} {made!r} {vars(made)}"
    assert "do-not-tell" not in text
    assert made.to_dict()["init_parameters"]["api_key"]["env_vars"][0] == "PERPLEXITY_API_KEY"


@pytest.mark.parametrize("component", EMBEDDERS)
def test_a_key_in_clear_is_not_serialised(component):
    made = component(api_key=Secret.from_token("pplx-do-not-tell"))
    with pytest.raises(ValueError, match="token"):
        made.to_dict()
    assert "do-not-tell" not in f"{made!r} {vars(made)}"


@pytest.mark.parametrize("component", EMBEDDERS)
def test_a_key_that_is_no_secret_is_refused_and_not_shown(component):
    with pytest.raises(ConfigurationError, match="api_key is a Secret, got str") as caught:
        component(api_key="pplx-do-not-tell")
    assert "do-not-tell" not in str(caught.value)


@pytest.mark.parametrize("component", EMBEDDERS)
def test_a_device_is_haystack_s_own(component):
    with pytest.raises(ConfigurationError, match="device is a ComponentDevice, got str"):
        component(device="cpu")


@pytest.mark.parametrize("component", EMBEDDERS)
def test_local_backends_never_look_at_a_key(component, tiny):
    component(**tiny, api_key=Secret.from_env_var("SURELY_NOT_SET", strict=True)).warm_up()


def test_a_map_of_devices_is_refused():
    from haystack.utils.device import Device, DeviceMap

    devices = ComponentDevice.from_multiple(DeviceMap({"layer": Device.cpu()}))
    with pytest.raises(ValueError, match="single device"):
        ContextualTextEmbedder(device=devices)


def test_both_pipelines_survive_yaml_with_the_default_allow_list(tiny):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    indexing = Pipeline()
    indexing.add_component("splitter", DocumentSplitter(split_by="sentence", split_length=1))
    indexing.add_component("embedder", ContextualDocumentEmbedder(**SETTINGS | OWN))
    indexing.add_component(
        "writer",
        ContextualDocumentWriter(
            store,
            source_key="file_path",
            order_key=None,
            missing_group="error",
            bare_names="allow",
            partial="append",
        ),
    )
    indexing.connect("splitter", "embedder")
    indexing.connect("embedder.documents", "writer.documents")
    query = Pipeline()
    query.add_component("embedder", ContextualTextEmbedder(**SETTINGS))
    query.add_component("retriever", InMemoryEmbeddingRetriever(store))
    query.connect("embedder.embedding", "retriever.query_embedding")
    for pipeline in (indexing, query):
        text = pipeline.dumps()
        assert "ANOTHER_NAME" in text
        assert in_order(Pipeline.loads(text)) == in_order(pipeline)


def test_a_writer_survives_a_round_trip():
    parameters = {
        "source_key": "file_path",
        "order_key": None,
        "missing_group": "error",
        "bare_names": "allow",
        "partial": "append",
    }
    made = ContextualDocumentWriter(InMemoryDocumentStore(), **parameters)
    data = made.to_dict()
    again = ContextualDocumentWriter.from_dict(data)
    assert data["init_parameters"].keys() == parameters_of(ContextualDocumentWriter)
    assert again.to_dict() == data
    assert {name: getattr(again, name) for name in parameters} == parameters
    assert isinstance(again.document_store, InMemoryDocumentStore)


@pytest.mark.parametrize("component", [*EMBEDDERS, ContextualDocumentWriter])
def test_the_class_is_defined_where_the_loader_allows(component):
    assert component.__module__.startswith("haystack_integrations.components.embedders.ctxembed.")


def test_an_unknown_choice_in_yaml_is_refused():
    data = ContextualTextEmbedder().to_dict()
    data["init_parameters"]["empty"] = "skip"
    with pytest.raises(ConfigurationError, match="empty is one of"):
        ContextualTextEmbedder.from_dict(data)


BEFORE = """
components:
  embedder:
    init_parameters:
      model: minilm
      order_key: null
      raise_on_failure: false
      source_key: file_path
    type: EMBEDDERS.document_embedder.ContextualDocumentEmbedder
  writer:
    init_parameters:
      document_store:
        init_parameters: {}
        type: haystack.document_stores.in_memory.document_store.InMemoryDocumentStore
      missing_group: single
      order_key: null
      partial: error
      source_key: file_path
    type: EMBEDDERS.document_writer.ContextualDocumentWriter
connection_type_validation: true
connections:
- {receiver: writer.documents, sender: embedder.documents}
max_runs_per_component: 100
metadata: {}
""".replace("EMBEDDERS", "haystack_integrations.components.embedders.ctxembed")


def test_a_pipeline_from_before_the_writer_had_an_output_skipped_still_loads(fake):
    meta = {"file_path": "files/a.txt"}
    given = [Document(content="one", meta=meta), Document(content=" ", meta=meta)]
    found = Pipeline.loads(BEFORE).run({"embedder": {"documents": given}})
    assert found["writer"] == {"documents_written": 1, "documents_deleted": 0, "skipped": []}
