"""``docs/schema.sql`` is up to date with the migrations."""

from difflib import unified_diff

from tools.document import COMMAND, read, schema


def test_schema_is_up_to_date(database: str) -> None:
    changes = unified_diff(
        read(schema.PATH).splitlines(),
        schema.of_database(database).splitlines(),
        *(schema.PATH, "the migrated database"),
        n=0,
        lineterm="",
    )
    report = "\n".join(changes)
    assert not report, f"{schema.PATH} is out of date. Run: {COMMAND} schema\n{report}"
