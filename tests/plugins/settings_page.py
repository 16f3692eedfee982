"""The table in docs/settings.md, made from the fields of `Settings`.

python tests/plugins/settings_page.py      writes the table anew
"""

from dataclasses import fields
from pathlib import Path
from types import NoneType

from ctxembed import Settings
from ctxembed.documented_fields import choices_or_types

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = (
    "| setting | type | default | what it does | changes vectors |\n"
    "| --- | --- | --- | --- | --- |\n"
)


def row_of(field):
    """Return the line of the table for one setting."""
    default = "" if field.default is None else f"`{field.default!r}`".replace("'", '"')
    vectors = "yes" if field.metadata["in_vectors"] else ""
    text = field.metadata["text"]
    return f"| `{field.name}` | {type_of(field.type)} | {default} | {text} | {vectors} |"


def type_of(kind):
    """Return a type as a reader wants to see it: choices one by one, and no None."""
    choices = [each for each in choices_or_types(kind) if isinstance(each, str)]
    if choices:
        return ", ".join(f'`"{choice}"`' for choice in choices)
    (plain,) = {*choices_or_types(kind)} - {NoneType}
    return f"`{plain.__name__}`"


def written():
    """Return the page, with the table as it has to be."""
    page = PAGE.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(line for line in page if not line.startswith("| `"))
    return kept.replace(HEAD, HEAD + "".join(f"{row_of(field)}\n" for field in fields(Settings)))


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
