"""What is in a database's schema, as text to compare."""

import psycopg

_SCHEMA = """
    WITH tables AS (
        SELECT * FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic_version%'
    )
    SELECT concat_ws(' ', 'relation', relname, relkind, obj_description(oid, 'pg_class'))
    FROM tables
    UNION ALL
    SELECT concat_ws(' ', 'column', relname, attname, format_type(atttypid, atttypmod),
                     attnotnull, attidentity, pg_get_expr(adbin, adrelid),
                     col_description(tables.oid, attnum))
    FROM tables JOIN pg_attribute ON attrelid = tables.oid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped AND relkind = 'r'
    UNION ALL
    SELECT concat_ws(' ', 'constraint', relname, conname, pg_get_constraintdef(pg_constraint.oid),
                     convalidated)
    FROM pg_constraint JOIN tables ON conrelid = tables.oid
    UNION ALL
    SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid)
    FROM pg_index JOIN tables ON indrelid = tables.oid
    ORDER BY 1
"""


def schema(url: str) -> list[str]:
    """Describe all that migrations make."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(_SCHEMA)]


def version(url: str) -> str | None:
    """Return the revision that a database is stamped with."""
    with psycopg.connect(url) as connection:
        exists = connection.execute("SELECT to_regclass('public.alembic_version')").fetchone()
        if exists == (None,):
            return None
        row = connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
        return None if row is None else str(row[0])
