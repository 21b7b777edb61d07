"""The tables of a project, in all schemas. Their names are as in SQL, with quotes if needed."""

TABLES = """
SELECT c.oid, c.oid::regclass::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS ( -- a member of an extension
        SELECT FROM pg_depend d
        WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')
    AND NOT EXISTS ( -- Alembic's own, which a project may name
        SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'version_num')
"""
"""A subquery: OIDs and names of tables, without partitions."""
