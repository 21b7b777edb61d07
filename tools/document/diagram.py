"""The Mermaid diagram of the tables."""

from collections.abc import Iterator

from sqlalchemy import MetaData

from tools.document.columns import keys_of, type_of


def diagram(metadata: MetaData) -> Iterator[str]:
    """Yield a block of Markdown: the foreign keys with their ``ON DELETE``, then the tables."""
    yield "```mermaid"
    yield "erDiagram"
    yield "    direction LR"
    edges = {}
    for table in metadata.sorted_tables:
        for key in sorted(table.foreign_key_constraints, key=lambda key: [*key.column_keys]):
            once = set(key.columns) == set(table.primary_key)
            many = "o|" if once else "o{"
            # Several keys to one table are one line.
            label = f"on delete {key.ondelete or 'no action'}".lower()
            edges[key.referred_table.name, table.name] = f'{many} {table.name} : "{label}"'
    for (parent, _), edge in edges.items():
        yield f"    {parent} ||--{edge}"
    for table in metadata.sorted_tables:
        yield f"    {table.name} {{"
        for column in table.columns:
            kind = type_of(column).partition("(")[0]
            yield f"        {kind} {column.name} {', '.join(keys_of(column))}".rstrip()
        yield "    }"
    yield "```"
