"""Headings that ask for their sections."""

import pytest

from ctxembed.errors import InputError
from ctxembed.evaluation import Collection, Document, heading_queries

GUIDE = """# The guide

Welcome.

## Install `it`

Run pip.

```console
# not a heading
```

### Empty

## See [the page](page.md) ##
#hashtag is text.
"""


def collection(**texts: str) -> Collection:
    documents = tuple(Document(name, name, text) for name, text in texts.items())
    return Collection(name="docs", source="made here", documents=documents)


def asked(found: Collection) -> dict[str, list[str]]:
    """Return the sections that each query asks for."""
    texts = {document.id: document.text for document in found.documents}
    return {
        query.text: [
            texts[name][start:stop].strip()
            for name, spans in query.answers.items()
            for start, stop in spans
        ]
        for query in found.queries
    }


def test_a_heading_asks_for_its_section_and_is_no_longer_in_the_text():
    """The first one of level 1 is the title; fences and empty sections have no query."""
    found = heading_queries(collection(guide=GUIDE))

    assert asked(found) == {
        "Install it": ["Run pip.\n\n```console\n# not a heading\n```"],
        "See the page": ["#hashtag is text."],
    }
    assert "The guide" == found.documents[0].title
    assert "Install" not in found.documents[0].text
    assert "headings" in found.simulated


def test_equal_headings_are_one_query_with_several_answers():
    texts = {"a": "## Use\none\n## Use\ntwo", "b": "intro\n## Use\nthree\n", "c": "plain"}

    assert {"Use": ["one", "two", "three"]} == asked(heading_queries(collection(**texts)))


def test_documents_without_headings_are_refused():
    with pytest.raises(InputError, match="no document has a heading"):
        heading_queries(collection(a="text", b="# Title alone\ntext"))
