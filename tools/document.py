"""Write down what the models say: ``python -m tools.document``, or with ``--check`` only look.

Makes the diagram in README.md and its Turkish twin, between two marks, docs/data-dictionary.md,
and the table of dangerous operations in CONTRIBUTING.md. A revision that lacks its line ``Locks:``
gets it, for which it runs on a database of its own.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import (
    CheckConstraint,
    Column,
    Constraint,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import registry
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.compiler import DDLCompiler

from models import Base
from tools import ROOT, dangerous_operations
from trading_bot_schema.configuration import alembic_config
from trading_bot_schema.docstrings import line

COMMAND = "python -m tools.document"
READMES = ("README.md", "README.tr.md")
BEGIN = f"<!-- Made by: {COMMAND} -->"
END = "<!-- End of the diagram -->"
POSTGRESQL: Dialect = registry.load("postgresql")()
KINDS = (PrimaryKeyConstraint, UniqueConstraint, ForeignKeyConstraint, CheckConstraint)


def compiler(table: Table) -> DDLCompiler:
    """Return what writes the SQL of a table's parts."""
    return POSTGRESQL.ddl_compiler(POSTGRESQL, CreateTable(table))


def type_of(column: Column[object]) -> str:
    """Return a column's type as PostgreSQL's users write it."""
    name = column.type.compile(POSTGRESQL).lower()
    return {"timestamp with time zone": "timestamptz"}.get(name, name)


def keys_of(column: Column[object]) -> list[str]:
    """Return what a column is for other tables: PK, FK, UK."""
    roles = {"PK": column.primary_key, "FK": column.foreign_keys, "UK": column.unique}
    return [name for name, has in roles.items() if has]


def default_of(column: Column[object]) -> str:
    """Return the SQL of a column's default."""
    if column.identity:
        return "identity"
    return compiler(column.table).get_column_default_string(column) or ""


def diagram(metadata: MetaData) -> Iterator[str]:
    """Draw the tables in Mermaid's language, with what happens to a row when its parent goes."""
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


def rules(table: Table) -> Iterator[tuple[str, str]]:
    """Go through a table's constraints and indexes: the name of each, and what it says."""
    sql = compiler(table)

    def order(constraint: Constraint) -> tuple[int, str]:
        kind = next(i for i, kind in enumerate(KINDS) if isinstance(constraint, kind))
        return kind, sql.process(constraint)

    for constraint in sorted(table.constraints, key=order):
        _, name, rule = sql.process(constraint).split(maxsplit=2)
        yield name, rule
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        yield str(index.name), str(CreateIndex(index).compile(dialect=POSTGRESQL))


def dictionary(metadata: MetaData) -> Iterator[str]:
    """Describe every table: its columns, then its constraints and indexes."""
    yield "# Data dictionary"
    yield f"\n{BEGIN}"
    for table in metadata.sorted_tables:
        yield f"\n## {table.name}\n\n{table.comment}\n"
        yield "| column | type | null | default | key | meaning and unit |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for column in table.columns:
            parents = sorted({key.column.table.name for key in column.foreign_keys})
            cells = (
                f"`{column.name}`",
                type_of(column),
                "null" if column.nullable else "",
                default_of(column) and f"`{default_of(column)}`",
                ", ".join(keys_of(column)),
                column.comment or ", ".join(f"Refers to {name}." for name in parents),
            )
            yield f"| {' | '.join(cells)} |"
        yield "\n| constraint or index | rule |\n| --- | --- |"
        for name, rule in rules(table):
            yield f"| `{name}` | `{rule}` |"


def documents(metadata: MetaData, root: Path) -> dict[Path, str]:
    """Return the files as they should be.

    Raises:
        ValueError: A README lacks the marks.
    """
    drawn = "\n".join(diagram(metadata))
    files = {root / "docs" / "data-dictionary.md": "\n".join(dictionary(metadata)) + "\n"}
    for name in READMES:
        before, begin, rest = (root / name).read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise ValueError(f"{name} has no place for the diagram: {BEGIN} and {END}")
        files[root / name] = f"{before}{BEGIN}\n```mermaid\n{drawn}\n```\n{END}{after}"
    return files


def main() -> None:
    """Write the files, or name those that are out of date."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    check = parser.parse_args().check
    try:
        wanted = documents(Base.metadata, ROOT) | dangerous_operations.documents()
    except ValueError as error:
        sys.exit(str(error))
    stale = {
        path: text
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    if check and stale:
        names = " and ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"Out of date: {names}. Run: {COMMAND}")
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
    if not check:
        document_locks()


def document_locks() -> None:
    """Write the line ``Locks:`` of each revision that lacks it, or has the template's still."""
    scripts = [*ScriptDirectory.from_config(alembic_config()).walk_revisions()]
    without = [s for s in scripts if (line(s.longdoc, "Locks") or "<").startswith("<")]
    if without:
        # Needs what the tests need, and a server.
        from tools.missing_locks import write

        write(without)


if __name__ == "__main__":
    main()
