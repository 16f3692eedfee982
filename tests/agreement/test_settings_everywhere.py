"""A setting is described at its field of `Settings`; every other place has it, and says the same.

One test names all places that lack or contradict a setting: it is the list of what a new one needs.
"""

import inspect
from dataclasses import fields
from typing import Literal, get_type_hints

import pytest
import settings_page
from settings_values import CHANGE_VECTORS, SAME_VECTORS, VALUES

from ctxembed import Settings
from ctxembed.settings_keywords import SettingsKeywords

FIELDS = {field.name: field for field in fields(Settings)}
FLOATS = Literal["int8", "binary", "float"]
"""The encodings that a framework takes: no store has packed bits."""


def described(**differences):
    """Return type and default of every setting, apart from what a place does in its own way."""
    return {name: (field.type, field.default) for name, field in FIELDS.items()} | differences


def different(found, expected):
    """Return the names of settings that stand in one of the two only, or not alike in both."""
    names = sorted({*found, *expected})
    return [name for name in names if found.get(name) != expected.get(name)]


def command_line():
    from typer.main import get_command

    from ctxembed.cli.app import app

    options = {each.name: each for each in get_command(app).commands["embed"].params}
    expected = {name: (f.default, f.metadata["text"]) for name, f in FIELDS.items()}
    found = {
        name: (options[name].default, options[name].help.partition(" Choices: ")[0])
        for name in FIELDS
        if name in options
    }
    return different(found, expected)


def keywords():
    return different(get_type_hints(SettingsKeywords), {n: f.type for n, f in FIELDS.items()})


def model_fields(cls):
    return {name: (f.annotation, f.default) for name, f in cls.model_fields.items()}


def pydantic_fields():
    from ctxembed.pydantic_fields import SettingsFields

    expected = described(normalize=(bool, True), encoding=(FLOATS, "int8"))
    expected.pop("model")
    return different(model_fields(SettingsFields), expected)


def langchain():
    from ctxembed.pydantic_fields import SettingsFields
    from langchain_ctxembed import ContextualEmbeddings

    found = model_fields(ContextualEmbeddings)
    found.pop("api_key")
    own = {"model": described()["model"], "show_progress": (bool, False)}
    return different(found, model_fields(SettingsFields) | own)


def llamaindex():
    from ctxembed.pydantic_fields import SettingsFields
    from llama_index.embeddings.ctxembed import ContextualEmbedding

    expected = model_fields(SettingsFields) | {"model_name": described()["model"]}
    found = model_fields(ContextualEmbedding)
    return different({name: found.get(name) for name in expected}, expected)


def haystack_parameters(name):
    from haystack.utils import ComponentDevice

    from haystack_integrations.components.embedders import ctxembed

    parameters = inspect.signature(getattr(ctxembed, name).__init__).parameters
    found = {n: (p.annotation, p.default) for n, p in parameters.items() if n in FIELDS}
    device = (ComponentDevice | None, None)
    return different(found, described(normalize=(bool, True), device=device))


def haystack_documents():
    return haystack_parameters("ContextualDocumentEmbedder")


def haystack_text():
    return haystack_parameters("ContextualTextEmbedder")


def page():
    lines = settings_page.PAGE.read_text(encoding="utf-8").splitlines()
    found = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    return different(found, {name: settings_page.row_of(f) for name, f in FIELDS.items()})


def values():
    found = dict.fromkeys(CHANGE_VECTORS, True) | dict.fromkeys(SAME_VECTORS, False)
    wrong = different(found, {name: f.metadata["in_vectors"] for name, f in FIELDS.items()})
    unset = [name for name in FIELDS if VALUES.get(name) == FIELDS[name].default]
    return sorted({*wrong, *unset})


PLACES = {
    "the command line (ctxembed embed)": command_line,
    "core: SettingsKeywords in settings_keywords.py": keywords,
    "core: SettingsFields in pydantic_fields.py": pydantic_fields,
    "langchain: ContextualEmbeddings": langchain,
    "llamaindex: ContextualEmbedding": llamaindex,
    "haystack: ContextualDocumentEmbedder": haystack_documents,
    "haystack: ContextualTextEmbedder": haystack_text,
    "docs/settings.md (run: python tests/plugins/settings_page.py)": page,
    "tests/plugins/settings_values.py": values,
}


def test_every_place_has_every_setting_and_says_the_same():
    for framework in ("typer", "langchain_core", "llama_index.core", "haystack"):
        pytest.importorskip(framework)
    wrong = {place: names for place, names_of in PLACES.items() if (names := names_of())}

    listed = "\n".join(f"  {place}: {', '.join(names)}" for place, names in wrong.items())
    assert not wrong, f"settings that a place lacks, or describes in another way:\n{listed}"
