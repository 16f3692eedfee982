"""The package is laid out as Haystack's repository of integrations asks."""

import inspect
from pathlib import Path

from haystack_integrations.components.embedders import ctxembed

PACKAGE = Path(__file__).parents[2] / "packages" / "haystack"
HEADER = (
    "# SPDX-FileCopyrightText: 2026-present the ctxembed authors\n"
    "#\n"
    "# SPDX-License-Identifier: Apache-2.0\n"
)


def test_every_module_has_the_licence_header():
    modules = [*PACKAGE.rglob("*.py")]
    assert modules
    assert all(module.read_text().startswith(HEADER) for module in modules)


def test_pydoc_lists_the_module_of_every_component():
    page = (PACKAGE / "pydoc" / "config_docusaurus.yml").read_text()
    modules = {inspect.getmodule(getattr(ctxembed, name)).__name__ for name in ctxembed.__all__}
    assert len(modules) == 4
    assert all(f"- {module}\n" in page for module in modules)


def test_namespaces_have_no_init_and_the_leaf_is_typed():
    leaf = PACKAGE / "src" / "haystack_integrations" / "components" / "embedders" / "ctxembed"
    assert (leaf / "py.typed").is_file()
    assert not [*leaf.parent.glob("__init__.py"), *(PACKAGE / "src").glob("*/__init__.py")]
    assert not (leaf.parents[1] / "__init__.py").exists()
