"""A dangerous revision is refused, with its effect and the safe form; a safe one passes.

Each revision here is added to those of the library, and checked by its observed effects.
"""

import pytest

from tests.support.probe_revisions import Probe, Revisions
from verification import Databases
from verification.guarantees import preserves_rows, problems
from verification.observation import unknown_changes
from verification.rows import RowsError

ADD_COLUMN = 'op.add_column("staff", sa.Column("note", sa.Text()))'
CHECK = (
    'op.create_check_constraint(op.f("ck_probe"), "staff", "wage < 1e30",'
    " postgresql_not_valid=True)"
)
VALIDATE = 'op.execute("ALTER TABLE staff VALIDATE CONSTRAINT {}")'
FOREIGN_KEY = """
op.create_foreign_key(
    "fk_probe", "staff", "branch", ["{}"], ["id"], postgresql_not_valid={}
)
"""
AUTOCOMMIT = "with op.get_context().autocommit_block():\n"
INDEX = 'op.create_index("ix_probe", "staff", ["name"], postgresql_concurrently=True{})'
DROP_INDEX = 'op.drop_index("ix_probe", if_exists=True, postgresql_concurrently=True)'
BATCHES = """op.execute('''DO $$
DECLARE
    batch record;
BEGIN
    FOR batch IN
        SELECT min(id) AS first, max(id) AS last
        FROM (SELECT id, row_number() OVER (ORDER BY id) / {size} AS n FROM {table}) AS t
        GROUP BY n
    LOOP
        {change} WHERE id BETWEEN batch.first AND batch.last;
        {end};
    END LOOP;
END $$''')"""
UPDATES = {"table": "staff", "change": "UPDATE staff SET nickname = 'none'", "size": 5000}
DELETES = UPDATES | {"table": "probe", "change": "DELETE FROM probe"}


def indented(*statements: str) -> str:
    """Return statements in an autocommit_block()."""
    lines = "\n".join(statements).strip().splitlines()
    return AUTOCOMMIT + "\n".join(f"    {line}" for line in lines)


DANGEROUS: dict[str, tuple[str, str, str, str]] = {
    # Title: rules, upgrade, earlier revision, part of the message of the first rule.
    "a CHECK that is validated at once": (
        "scan-under-lock",
        'op.create_check_constraint(op.f("ck_probe"), "staff", "wage < 1e30")',
        "",
        "ACCESS EXCLUSIVE on staff, which blocks reads and writes. Safe: add it NOT VALID,"
        " and VALIDATE it in a transaction of its own. See “Add or change a CHECK” in",
    ),
    "SET NOT NULL without a validated CHECK": (
        "scan-under-lock",
        'op.alter_column("author", "name", nullable=False)',
        'op.alter_column("author", "name", nullable=True)',
        "reads all rows of author under ACCESS EXCLUSIVE on author",
    ),
    "an index that is not built concurrently": (
        "scan-under-lock",
        'op.create_index("ix_probe", "staff", ["name"])',
        "",
        "under SHARE on staff, which blocks writes. Safe: build it CONCURRENTLY",
    ),
    "an index that is not built concurrently, outside a transaction": (
        "scan-under-lock",
        indented('op.execute("CREATE INDEX IF NOT EXISTS ix_probe ON staff (name)")'),
        "",
        "under SHARE on staff, which blocks writes. Safe: build it CONCURRENTLY",
    ),
    "a unique constraint": (
        "scan-under-lock",
        'op.create_unique_constraint("uq_probe", "staff", ["id", "name"])',
        "",
        "reads all rows of staff under ACCESS EXCLUSIVE on staff",
    ),
    "a foreign key that is validated at once": (
        "scan-under-lock",
        FOREIGN_KEY.format("probe_id", False),
        'op.add_column("staff", sa.Column("probe_id", sa.Integer()))',
        "SHARE ROW EXCLUSIVE on staff, which block writes. Safe: add it NOT VALID",
    ),
    "a new table that is filled in the transaction of its foreign key": (
        "scan-under-lock",
        'op.execute("CREATE TABLE probe (id integer REFERENCES branch)")\n'
        'op.execute("INSERT INTO probe SELECT id FROM branch")',
        "",
        "reads all rows of branch under SHARE ROW EXCLUSIVE on branch",
    ),
    "a change of type": (
        "rewrite-under-lock",
        'op.alter_column("book", "pages", type_=sa.BigInteger())',
        "",
        "rewrites book under ACCESS EXCLUSIVE on book, which blocks reads and writes."
        " Safe: add a column of the new type",
    ),
    "a volatile default": (
        "rewrite-under-lock",
        'op.execute("ALTER TABLE staff ADD COLUMN tag uuid DEFAULT gen_random_uuid()")',
        "",
        "rewrites staff under ACCESS EXCLUSIVE on staff",
    ),
    "VACUUM FULL": (
        "rewrite-under-lock",
        indented('op.execute("VACUUM FULL branch")'),
        "",
        "rewrites branch under ACCESS EXCLUSIVE on branch",
    ),
    "a column and a foreign key in one revision": (
        "second-table",
        'op.add_column("staff", sa.Column("probe_id", sa.Integer()))\n'
        + FOREIGN_KEY.format("probe_id", True),
        "",
        "requests SHARE ROW EXCLUSIVE on branch while the transaction holds ACCESS EXCLUSIVE on"
        " staff, which blocks reads and writes for as long as it waits. Split it into two"
        " revisions. Safe: add it NOT VALID in a revision of its own, VALIDATE it in the next.",
    ),
    "columns of two tables": (
        "second-table",
        f'{ADD_COLUMN}\nop.add_column("branch", sa.Column("note", sa.Text()))',
        "",
        "requests ACCESS EXCLUSIVE on branch while the transaction holds ACCESS EXCLUSIVE on"
        " staff",
    ),
    "a foreign key, then a column of another table": (
        "second-table",
        f'op.execute("CREATE TABLE probe (id integer REFERENCES branch)")\n{ADD_COLUMN}',
        "",
        "requests ACCESS EXCLUSIVE on staff while the transaction holds SHARE ROW EXCLUSIVE on"
        " branch",
    ),
    "a table with two foreign keys is dropped": (
        "second-table drop-or-rename",
        'op.drop_table("authorship")',
        "",
        "Safe: drop its foreign keys first, each in a revision of its own. See “Drop a table”",
    ),
    "an UPDATE of every row": (
        "every-row",
        "op.execute(\"UPDATE staff SET nickname = 'BNB'\")",
        "",
        "changes every row of staff in one transaction",
    ),
    "batches in one transaction": (
        "every-row",
        BATCHES.format(end="NULL", **UPDATES),
        "",
        "Safe: in batches of some thousands, each committed by autocommit_block()",
    ),
    "batches that have every row": (
        "every-row",
        indented(BATCHES.format(end="COMMIT", **UPDATES | {"size": 50_000})),
        "",
        "changes every row of staff in one transaction",
    ),
    "a foreign key that is validated at once, with an index": (
        "scan-under-lock",
        FOREIGN_KEY.format("probe_id", False),
        'op.add_column("staff", sa.Column("probe_id", sa.Integer()))\n'
        'op.create_index("ix_probe", "staff", ["probe_id"])',
        "reads all rows of staff under SHARE ROW EXCLUSIVE on branch and SHARE ROW EXCLUSIVE on",
    ),
    "VALIDATE of a foreign key with an index, under a strong lock": (
        "scan-under-lock",
        f"{ADD_COLUMN}\n{VALIDATE.format('fk_probe')}",
        'op.add_column("staff", sa.Column("probe_id", sa.Integer()))\n'
        'op.create_index("ix_probe", "staff", ["probe_id"])\n'
        + FOREIGN_KEY.format("probe_id", True),
        "reads all rows of staff under ACCESS EXCLUSIVE on staff",
    ),
    "a CHECK after a committed DELETE": (
        "scan-under-lock",
        indented("op.execute(\"DELETE FROM suggestion WHERE title = ''\")")
        + '\nop.create_check_constraint(op.f("ck_probe"), "suggestion", "title > \'\'")',
        "",
        "reads all rows of suggestion under ACCESS EXCLUSIVE on suggestion",
    ),
    "SET NOT NULL after a committed backfill": (
        "scan-under-lock",
        indented(
            "op.execute(\"UPDATE staff SET nickname = '' WHERE nickname IS NULL AND id = 1001\")",
            "op.execute(\"UPDATE suggestion SET title = '' WHERE title IS NULL\")",
        )
        + '\nop.execute("ALTER TABLE suggestion ALTER COLUMN title SET NOT NULL")',
        "",
        "reads all rows of suggestion under ACCESS EXCLUSIVE on suggestion",
    ),
    "an UPDATE of almost every row": (
        "every-row",
        "op.execute(\"UPDATE staff SET nickname = 'BNB' WHERE id <> 1001\")",
        "",
        "changes every row of staff in one transaction",
    ),
    "an UPDATE of almost every row in two statements": (
        "every-row",
        "op.execute(\"UPDATE staff SET nickname = 'a' WHERE id % 2 = 0 AND id > 1003\")\n"
        "op.execute(\"UPDATE staff SET nickname = 'b' WHERE id % 2 = 1 AND id > 1003\")",
        "",
        "changes every row of staff in one transaction",
    ),
    "an UPDATE of the rows without a value": (
        "every-row",
        "op.execute(\"UPDATE staff SET nickname = 'BNB' WHERE nickname IS NULL\")",
        "",
        "or every row like one that it changes",
    ),
    "an UPDATE that sets the values that there are": (
        "every-row",
        'op.execute("UPDATE staff SET nickname = nickname WHERE nickname IS NULL")',
        "",
        "or every row like one that it changes",
    ),
    "an UPDATE of rows of one kind": (
        "every-row",
        "op.execute(\"UPDATE note SET text = 'x' WHERE book IS NOT NULL\")",
        """
op.execute('''CREATE TABLE note (
    id int PRIMARY KEY, text text, kind text NOT NULL CHECK (kind IN ('any', 'book', 'author')),
    book uuid UNIQUE REFERENCES book CHECK ((kind = 'book') = (book IS NOT NULL)),
    author uuid UNIQUE REFERENCES author CHECK ((kind = 'author') = (author IS NOT NULL))
)''')
""",
        "or every row like one that it changes",
    ),
    "an UPDATE beside a new column": (
        "every-row scan-under-lock",
        f"{ADD_COLUMN}\nop.execute(\"UPDATE staff SET note = '' WHERE nickname IS NULL\")",
        "",
        "or every row like one that it changes",
    ),
    "REINDEX": (
        "scan-under-lock",
        'op.execute("REINDEX TABLE staff")',
        "",
        "reads all rows of staff under ACCESS EXCLUSIVE on staff",
    ),
    "a CHECK of a domain": (
        "scan-under-lock",
        'op.execute("ALTER DOMAIN probe ADD CHECK (value IS NOT NULL OR value IS NULL)")',
        'op.execute("CREATE DOMAIN probe AS integer")\n'
        'op.execute("ALTER TABLE staff ADD COLUMN probe probe")',
        "reads all rows of staff under SHARE on staff",
    ),
    "a serial column": (
        "rewrite-under-lock",
        'op.execute("ALTER TABLE staff ADD COLUMN probe serial")',
        "",
        "rewrites staff under ACCESS EXCLUSIVE on staff",
    ),
    "a detached partition": (
        "second-table",
        'op.execute("ALTER TABLE probe DETACH PARTITION probe1")',
        'op.execute("CREATE TABLE probe (id integer) PARTITION BY LIST (id)")\n'
        'op.execute("CREATE TABLE probe1 PARTITION OF probe DEFAULT")',
        "requests ACCESS EXCLUSIVE on probe1 while the transaction holds ACCESS EXCLUSIVE on",
    ),
    "a change of type of a table that is empty by then": (
        "rewrite-under-lock every-row",
        'op.execute("DELETE FROM suggestion")\n'
        'op.execute("ALTER TABLE suggestion ALTER COLUMN title TYPE varchar(9)")',
        "",
        "rewrites suggestion under ACCESS EXCLUSIVE on suggestion",
    ),
    "TRUNCATE": ("every-row", 'op.execute("TRUNCATE suggestion")', "", "every row of suggestion"),
    "changed rows in the transaction of a strong lock": (
        "rows-under-lock",
        f"{ADD_COLUMN}\nop.execute(\"UPDATE staff SET note = '' WHERE id = 1001\")",
        "",
        "changes rows of staff in the transaction that holds ACCESS EXCLUSIVE on staff",
    ),
    "VALIDATE in the transaction of its ADD": (
        "validate-with-add",
        f"{CHECK}\n{VALIDATE.format('ck_probe')}",
        "",
        "validates a constraint in the transaction that added it, so all rows of staff are read"
        " under ACCESS EXCLUSIVE on staff",
    ),
    "VALIDATE before SET NOT NULL": (
        "scan-before-lock",
        f"{VALIDATE.format('ck_probe')}\n"
        'op.execute("ALTER TABLE staff ALTER COLUMN nickname SET NOT NULL")\n'
        'op.execute("ALTER TABLE staff DROP CONSTRAINT ck_probe")',
        "op.execute(\"UPDATE staff SET nickname = '' WHERE nickname IS NULL\")\n"
        + CHECK.replace("wage < 1e30", "nickname IS NOT NULL"),
        "requests ACCESS EXCLUSIVE on staff, which blocks reads and writes, after ALTER TABLE"
        " staff VALIDATE CONSTRAINT ck_probe has read all rows of staff",
    ),
    "a column before an index that is built concurrently": (
        "run-again",
        f"{ADD_COLUMN}\n{indented(DROP_INDEX, INDEX.format(''))}",
        "",
        "ALTER TABLE staff ADD COLUMN note TEXT: fails when the revision is run again",
    ),
    "a foreign key before its VALIDATE": (
        "run-again",
        FOREIGN_KEY.format("probe_id", True) + indented(VALIDATE.format("fk_probe")),
        'op.add_column("staff", sa.Column("probe_id", sa.Integer()))',
        'constraint "fk_probe" for relation "staff" already exists',
    ),
    "an UPDATE that is not idempotent": (
        "run-again",
        indented("op.execute(\"UPDATE branch SET name = name || 'x' WHERE id = 1001\")"),
        "",
        "the result differs from that of a single run",
    ),
    "an index that may be left invalid": (
        "run-again",
        indented(INDEX.format(", if_not_exists=True")),
        "",
        "INDEX ix_probe (not in the dump)",
    ),
    "a dropped column": (
        "drop-or-rename",
        'op.drop_column("staff", "nickname")',
        "",
        "drops staff.nickname, which code that runs during the deployment may use. Safe: first",
    ),
    "a renamed column": (
        "drop-or-rename",
        'op.alter_column("staff", "nickname", new_column_name="short")',
        "",
        "renames staff.nickname to staff.short, which",
    ),
    "a table with one foreign key is dropped": (
        "drop-or-rename",
        'op.drop_table("payment", schema="lending")',
        "",
        "drops lending.payment, which",
    ),
    "a renamed table": (
        "drop-or-rename",
        'op.rename_table("staff", "people")',
        "",
        "renames staff to people, which",
    ),
    "a dropped view and a dropped function": (
        "drop-or-rename",
        'op.execute("DROP VIEW probe")\nop.execute("DROP FUNCTION twice")',
        'op.execute("CREATE VIEW probe AS SELECT name FROM staff")\n'
        'op.execute("CREATE FUNCTION twice(integer) RETURNS integer RETURN 2 * $1")',
        "drops twice(integer), which",
    ),
    "a sequence of its own": (
        "drop-or-rename",
        'op.execute("DROP SEQUENCE probe")',
        'op.execute("CREATE SEQUENCE probe")',
        "drops probe, which",
    ),
    "COPY outside a transaction": (
        "every-row",
        indented(
            "cursor = op.get_bind().connection.driver_connection.cursor()",
            "cursor.execute('DELETE FROM suggestion')",
            "with cursor.copy('COPY suggestion (title) FROM STDIN') as copy:",
            "    copy.write_row(['x'])",
        ),
        "",
        "DELETE FROM suggestion: changes every row of suggestion",
    ),
    "a type that is renamed, which drivers name in casts": (
        "drop-or-rename",
        'op.execute("ALTER TYPE book_format RENAME TO kind_of_book")',
        "",
        "renames book_format to kind_of_book, which",
    ),
    "COPY of a cursor of psycopg": (
        "rows-under-lock",
        f"{ADD_COLUMN}\n"
        "cursor = op.get_bind().connection.cursor()\n"
        "with cursor.copy('COPY suggestion (title) FROM STDIN') as copy:\n"
        "    copy.write_row(['x'])",
        "",
        "changes rows of suggestion in the transaction that holds ACCESS EXCLUSIVE on staff",
    ),
    "a statement of a cursor of psycopg": (
        "scan-under-lock",
        "cursor = op.get_bind().connection.cursor()\n"
        'cursor.execute("CREATE INDEX ix_probe ON staff (name)")',
        "",
        "CREATE INDEX ix_probe ON staff (name): reads all rows of staff under SHARE on staff",
    ),
    "a statement of a connection of psycopg, outside a transaction": (
        "scan-under-lock",
        indented(
            "driver = op.get_bind().connection.driver_connection",
            'driver.execute("CREATE INDEX IF NOT EXISTS ix_probe ON staff (name)")',
        ),
        "",
        "CREATE INDEX IF NOT EXISTS ix_probe ON staff (name): reads all rows of staff under SHARE",
    ),
    "no limit to waiting": (
        "timeout",
        f'op.execute("SET LOCAL lock_timeout = 0")\n{ADD_COLUMN}',
        "",
        "SET LOCAL lock_timeout = 0: sets lock_timeout to no limit.",
    ),
    "a longer wait": (
        "timeout",
        f"op.execute(\"SELECT set_config('lock_timeout', '1min', true)\")\n{ADD_COLUMN}",
        "",
        "sets lock_timeout to 60000 ms",
    ),
    "no limit to a statement, outside a transaction": (
        "timeout",
        indented('op.execute("SET statement_timeout = 0")', DROP_INDEX, INDEX.format("")),
        "",
        "sets statement_timeout to no limit",
    ),
}


@pytest.mark.parametrize("title", DANGEROUS)
def test_a_dangerous_revision_is_refused(title: str, probe: Probe) -> None:
    rules, upgrade, earlier, message = DANGEROUS[title]
    broken = probe(upgrade, earlier=earlier).broken_rules()
    rule = rules.split()[0]
    assert any(text.startswith(f"[{rule}] ") and message in text for text in broken), broken
    assert {text[1:].split("]")[0] for text in broken} == set(rules.split()), broken


SAFE: dict[str, tuple[str, str]] = {
    # Title: upgrade, earlier revision.
    "nothing": ("pass", ""),
    "an UPDATE of one row": (
        "op.execute(\"UPDATE staff SET nickname = 'a' WHERE id = 1001\")",
        "",
    ),
    "lookups of a foreign key": (
        'op.execute("CREATE TABLE probe (id integer PRIMARY KEY, up integer REFERENCES branch)")\n'
        'op.execute("INSERT INTO probe SELECT n, (SELECT min(id) FROM branch)'
        ' FROM generate_series(1, 300) n")',
        "",
    ),
    "a column": (ADD_COLUMN, ""),
    "a table that a view replaces": (
        'op.rename_table("suggestion", "proposal")\n'
        'op.execute("CREATE VIEW suggestion AS SELECT * FROM proposal")',
        "",
    ),
    "a view and a trigger function that are replaced": (
        'op.execute("DROP VIEW probe")\n'
        'op.execute("CREATE VIEW probe AS SELECT name FROM staff WHERE id > 0")\n'
        'op.execute("DROP FUNCTION of_probe")',
        'op.execute("CREATE VIEW probe AS SELECT name FROM staff")\n'
        "op.execute(\"CREATE FUNCTION of_probe() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN"
        " NEW; END'\")",
    ),
    "a column with a default": (
        'op.add_column("staff", sa.Column("n", sa.Integer(), nullable=False,'
        ' server_default=sa.text("0")))',
        "",
    ),
    "a wider varchar": (
        'op.alter_column("staff", "nickname", type_=sa.String(99))',
        "",
    ),
    "a CHECK that is not validated": (CHECK, ""),
    "a CHECK that replaces another": (
        f'op.drop_constraint("ck_staff_wage_positive", "staff")\n{CHECK}',
        "",
    ),
    "VALIDATE": (VALIDATE.format("ck_probe"), CHECK),
    "VALIDATE outside a transaction": (indented(VALIDATE.format("ck_probe")), CHECK),
    "SET NOT NULL with a validated CHECK": (
        'op.execute("ALTER TABLE staff ALTER COLUMN wage SET NOT NULL")\n'
        'op.execute("ALTER TABLE staff DROP CONSTRAINT ck_probe")',
        'op.execute("ALTER TABLE staff ALTER COLUMN wage DROP NOT NULL")\n'
        'op.create_check_constraint(op.f("ck_probe"), "staff", "wage IS NOT NULL")',
    ),
    "a foreign key": (
        FOREIGN_KEY.format("probe_id", True),
        'op.add_column("staff", sa.Column("probe_id", sa.Integer()))',
    ),
    "a new table with two foreign keys": (
        'op.execute("CREATE TABLE probe (id integer REFERENCES branch, book uuid REFERENCES'
        ' book)")',
        "",
    ),
    "an index, built concurrently": (indented(DROP_INDEX, INDEX.format("")), ""),
    "a unique constraint from an index": (
        'op.execute("ALTER TABLE staff ADD CONSTRAINT ix_probe UNIQUE USING INDEX ix_probe")',
        indented('op.execute("CREATE UNIQUE INDEX CONCURRENTLY ix_probe ON staff (id, name)")'),
    ),
    "updates in batches": (indented(BATCHES.format(end="COMMIT", **UPDATES)), ""),
    "deletes in batches": (
        indented(BATCHES.format(end="COMMIT", **DELETES)),
        'op.create_table("probe", sa.Column("id", sa.Integer(), sa.Identity(), primary_key=True))',
    ),
    "few rows": ("op.execute(\"UPDATE staff SET nickname = 'x' WHERE id IN (1001, 1002)\")", ""),
    "a shorter wait": (f"op.execute(\"SET LOCAL lock_timeout = '100ms'\")\n{ADD_COLUMN}", ""),
    "storage and comments": (
        'op.execute("ALTER TABLE staff SET (fillfactor = 90)")\n'
        "op.execute(\"COMMENT ON TABLE staff IS 'Who works here.'\")",
        "",
    ),
    "VACUUM": (indented('op.execute("VACUUM branch")'), ""),
    "a trigger": (
        "op.execute(\"CREATE FUNCTION probe() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN"
        " NEW; END'\")\n"
        'op.execute("CREATE TRIGGER probe BEFORE INSERT ON staff FOR EACH ROW EXECUTE FUNCTION'
        ' probe()")',
        "",
    ),
}


@pytest.mark.parametrize("title", SAFE)
def test_a_safe_revision_passes(title: str, probe: Probe) -> None:
    upgrade, earlier = SAFE[title]
    assert probe(upgrade, earlier=earlier).broken_rules() == []


PLAIN_INDEX = 'op.execute("CREATE INDEX ix_probe ON staff (name)")'


@pytest.mark.parametrize(
    ("upgrade", "accepts", "message"),
    [
        (PLAIN_INDEX, "scan-under-lock on staff, since it has ten rows.", None),
        (
            PLAIN_INDEX,
            "scan-under-lock on staff and branch, because both have ten rows.",
            None,
        ),
        (PLAIN_INDEX, "scan-under-lock on branch, since it has ten rows.", "[scan-"),
        (PLAIN_INDEX, "every-row on staff, since it has ten rows.", "[scan-"),
        (PLAIN_INDEX, "scan-under-lock on staff.", "is not of the form"),
        (
            "pass",
            "scan-under-lock on staff, since it has ten rows.",
            "that the revision does not have",
        ),
        ("pass", "scans on staff, since it has ten rows.", "The rules are: scan-under-lock, "),
        (
            'op.execute("SET LOCAL lock_timeout = 0")',
            "timeout, since the service is stopped at night.",
            None,
        ),
    ],
)
def test_an_exception_matches_a_violation_and_has_a_reason(
    upgrade: str, accepts: str, message: str | None, probe: Probe
) -> None:
    broken = probe(upgrade, docstring=f"A probe.\n\nAccepts: {accepts}").broken_rules()
    if message is None:
        assert broken == []
    else:
        assert any(message in text for text in broken), broken


def test_a_change_of_no_row_is_unknown(probe: Probe) -> None:
    delete = "DELETE FROM lending.visit WHERE visited_at < now() - interval '900 years'"
    with_any_rows = (
        'op.execute("DELETE FROM staff WHERE nickname = NULL")',
        'op.execute("ALTER TABLE staff ADD hidden bool DEFAULT false")',
        'op.execute("UPDATE staff SET hidden = true WHERE hidden IS NULL")',
    )
    upgrade = "\n".join((*with_any_rows, f'op.execute("{delete}")'))
    (unknown,) = unknown_changes(probe(upgrade).upgrade)
    assert unknown.startswith(
        f"{delete}: changes no row here, so its effect is unknown. Add a row"
    )


@pytest.mark.parametrize(
    "condition",
    [
        "nickname = 'none' AND name = 'x1'",
        "nickname IS NULL AND name LIKE 'x2%'",
        "nickname = 'none' AND hired < '2016-06-30'",
        "nickname = 'none' AND hired > '2016-06-30'",
        "hired = '-infinity'",
        "nickname = 'none' AND jsonb_typeof(facts -> 'age') = 'number'",
        "kind = 'other' AND nickname = 'none'",
    ],
)
def test_rows_that_conditions_of_several_columns_find(condition: str, probe: Probe) -> None:
    earlier = """
op.execute("CREATE TABLE kind (name text PRIMARY KEY)")
op.execute("INSERT INTO kind VALUES ('other')")
op.execute("ALTER TABLE staff ADD hired date, ADD facts jsonb, ADD kind text REFERENCES kind")
"""
    update = f"UPDATE staff SET wage = 1 WHERE {condition}"
    broken = probe(f'op.execute("{update}")', earlier=earlier).broken_rules()
    assert any(text.startswith("[every-row]") for text in broken)


# Each works on no rows, and on those that an application writes.
@pytest.mark.parametrize(
    ("upgrade", "earlier"),
    [
        ("""op.execute("UPDATE staff SET wage = wage * 1000, nickname = left(name, 50)")""", ""),
        (
            """
op.add_column("branch", sa.Column("day", sa.Date()))
op.execute("UPDATE branch SET day = (SELECT min(day) FROM opening WHERE branch_id = branch.id)")
op.alter_column("branch", "day", nullable=False)
""",
            """op.execute("CREATE TABLE opening (branch_id int REFERENCES branch, day date)")""",
        ),
        (
            """op.execute("ALTER TABLE opening ALTER day TYPE date USING day::date")""",
            """op.execute("CREATE TABLE opening (day text PRIMARY KEY)")""",
        ),
        (
            """
op.add_column("staff", sa.Column("login", sa.Text()))
op.execute("UPDATE staff SET login = lower(name)")
op.create_unique_constraint("uq_login", "staff", ["login"])
""",
            "",
        ),
    ],
    ids=["calculates", "looks up", "reads dates", "makes a key"],
)
def test_rows_on_which_a_revision_works_are_found(
    upgrade: str, earlier: str, probe: Probe
) -> None:
    assert probe(upgrade, earlier=earlier).broken_rules()


def test_a_revision_that_refuses_all_rows_is_unknown(probe: Probe) -> None:
    division = "SELECT 1 / (count(*) - count(*)) FROM staff HAVING count(*) > 0"
    message = "the rows that were generated.* Give rows .* in tests/verification/project.py"
    with pytest.raises(RowsError, match=message):
        probe(f'op.execute("{division}")').broken_rules()


def test_rows_that_are_left_out_are_mentioned(
    revisions: Revisions, owned_databases: Databases
) -> None:
    """A condition that finds too few rows is not taken for one without a row to find."""
    upgrade = """
op.execute("UPDATE staff SET nickname = NULL WHERE nickname = ''")
op.create_check_constraint(op.f("ck_probe"), "staff", "nickname ~ '[^ ]'")
"""
    revisions.add("probe", upgrade, 'op.drop_constraint(op.f("ck_probe"), "staff")')
    script = revisions.project.scripts.get_revision("probe")
    *_, message = problems(preserves_rows, owned_databases.of(revisions.project), script)
    assert "nickname = '': changes no row here, so its effect is unknown." in message
    assert "It fails on other rows, which are left out: " in message
    assert 'check constraint "ck_probe"' in message
