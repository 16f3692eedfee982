"""What LlamaHub reads of the package."""

import tomllib
from importlib import import_module
from pathlib import Path

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.node_parser import NodeParser

PACKAGE = Path(__file__).parents[2] / "packages" / "llamaindex"


def test_the_hub_finds_every_class_under_the_import_path():
    hub = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["tool"]["llamahub"]
    module = import_module(hub["import_path"])
    classes = [name for name in module.__all__ if isinstance(getattr(module, name), type)]
    assert sorted(hub["class_authors"]) == sorted(classes)
    for name in classes:
        found = getattr(module, name)
        assert issubclass(found, BaseEmbedding | NodeParser)
        assert found.class_name() == name


def test_the_package_has_what_the_hub_shows_beside_it():
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    assert project["name"] == "llama-index-embeddings-ctxembed"
    assert any(each.startswith("llama-index-core") for each in project["dependencies"])
    assert (PACKAGE / project["readme"]).is_file()
    assert (PACKAGE / "LICENSE").is_file()
    for namespace in ("llama_index", "llama_index/embeddings"):
        assert not (PACKAGE / "src" / namespace / "__init__.py").exists()
