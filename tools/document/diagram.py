"""The Mermaid diagram of the tables in the READMEs."""

from collections.abc import Iterator

from sqlalchemy import MetaData

from models import Base
from tools.document import Document, Texts, updated
from tools.document.columns import keys_of, type_of

NAME = "diagram"
READMES = ("README.md", "README.tr.md")


def diagram(metadata: MetaData) -> Iterator[str]:
    """Yield the lines: the foreign keys with their ``ON DELETE``, then the tables."""
    yield "erDiagram"
    yield "    direction LR"
    edges = {}
    for table in metadata.sorted_tables:
        for key in sorted(table.foreign_key_constraints, key=lambda key: [*key.column_keys]):
            once = set(key.columns) == set(table.primary_key)
            many = "o|" if once else "o{"
            # Several keys to one table are one line.
            label = f"on delete {key.ondelete}".lower()
            edges[key.referred_table.name, table.name] = f'{many} {table.name} : "{label}"'
    for (parent, _), edge in edges.items():
        yield f"    {parent} ||--{edge}"
    for table in metadata.sorted_tables:
        yield f"    {table.name} {{"
        for column in table.columns:
            kind = type_of(column).partition("(")[0]
            yield f"        {kind} {column.name} {', '.join(keys_of(column))}".rstrip()
        yield "    }"


def content(metadata: MetaData) -> str:
    """Return the diagram as a block of Markdown."""
    return "\n".join(["```mermaid", *diagram(metadata), "```", ""])


def texts() -> Texts:
    """Return each README with the diagram of the models.

    Raises:
        ValueError: A README lacks the marks.
    """
    return {path: updated(path, NAME, content(Base.metadata)) for path in READMES}


DOCUMENT = Document(NAME, texts)
