"""The views and functions of the database, which code selects from and calls."""

from collections.abc import Iterator, Mapping

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    Table,
    Text,
    inspect,
    literal_column,
    select,
    text,
)

from verification.old_code.statements import StatementCase
from verification.old_code.tables import OldTable
from verification.old_code.values import literal

FUNCTIONS = """
SELECT p.oid::regprocedure::text, p.oid::regproc::text,
    ARRAY(SELECT format_type(type, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, n)
        ORDER BY n)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind = 'f' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
"""


def read_cases(connection: Connection, tables: Mapping[str, OldTable]) -> list[StatementCase]:
    """Return a statement for each view, and a call of each function.

    Its arguments are values of columns of their types, or NULL.
    """
    return [*_selects(connection), *_calls(connection, tables)]


def _selects(connection: Connection) -> Iterator[StatementCase]:
    inspector = inspect(connection)
    for schema in inspector.get_schema_names():
        names = [*inspector.get_view_names(schema), *inspector.get_materialized_view_names(schema)]
        for name in names if schema != "information_schema" else ():
            named = None if schema == inspector.default_schema_name else schema
            view = Table(name, MetaData(), schema=named, autoload_with=connection)
            row = connection.execute(select(view).limit(1)).first()
            old = OldTable.without_rows(view, dict(row._mapping) if row else {})
            yield StatementCase(
                f"select {old.name}",
                old,
                select(view).limit(1),
                parts={column.name: select(column).limit(1) for column in view.columns},
            )


def _calls(connection: Connection, tables: Mapping[str, OldTable]) -> Iterator[StatementCase]:
    values: dict[str, str] = {}
    for old in tables.values():
        for name, value in old.base_texts.items():
            if value is not None:
                values.setdefault(old.types[name].partition("(")[0], literal(value))
    for signature, name, types in connection.execute(text(FUNCTIONS)):
        arguments = ", ".join(f"CAST({values.get(kind, 'NULL')} AS {kind})" for kind in types)
        function = Table(signature, MetaData(), Column("result", Text))
        call = literal_column(f"pg_typeof({name}({arguments}))::text", Text)
        yield StatementCase(
            f"call {signature}",
            OldTable.without_rows(function, {}),
            select(call).limit(1),
            exact=True,
        )
