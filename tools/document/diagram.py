"""The Mermaid diagram of the tables."""

from collections.abc import Iterator

from sqlalchemy import MetaData


def diagram(metadata: MetaData) -> Iterator[str]:
    """Yield a block of Markdown: the tables' foreign keys, with their ``ON DELETE``."""
    yield "```mermaid"
    yield "erDiagram"
    yield "    direction LR"
    edges = {}
    for table in metadata.sorted_tables:
        for key in sorted(table.foreign_key_constraints, key=lambda key: [*key.column_keys]):
            many = "o|" if set(key.columns) == set(table.primary_key) else "o{"
            # Several keys to one table are one line.
            label = f"on delete {key.ondelete or 'no action'}".lower()
            edges[key.referred_table.name, table.name] = f'{many} {table.name} : "{label}"'
    for (parent, _), edge in edges.items():
        yield f"    {parent} ||--{edge}"
    yield "```"
