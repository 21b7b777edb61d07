"""What reads all rows of a table, or rewrites it, is found for each form of statement.

The table has rows, or none, or most of them were deleted or all were updated before the statement.
"""

import pytest
from sqlalchemy import Connection

from tests.verification.project import LIBRARY
from verification.databases import Factory, execute, name_of, scalar
from verification.observation import observe

READ, REWRITTEN, NEITHER = "read", "rewritten", "neither"
TABLES = """
CREATE TABLE owner (id integer PRIMARY KEY);
INSERT INTO owner SELECT generate_series(1, 1000);
CREATE DOMAIN short AS text;
CREATE TABLE item (
    id integer PRIMARY KEY, owner_id integer, maybe integer, name varchar(9) NOT NULL,
    code short, amount numeric(9, 2), during int4range
);
INSERT INTO item SELECT n, n, CASE n WHEN 7 THEN 7 END, n, n, n, int4range(n, n + 1)
FROM generate_series(1, 1000) AS n;
CREATE TABLE whole (LIKE item) PARTITION BY RANGE (id);
"""
BEFORE = {
    "with rows": "",
    "without rows": "TRUNCATE item",
    "with most rows deleted": "DELETE FROM item WHERE id > 100",
    "with all rows updated": "UPDATE item SET amount = 0",
}
# By effect, statements; what is before an arrow was run by earlier revisions.
INDEX = "CREATE INDEX ON item (owner_id); CREATE INDEX ON item (maybe)"
FOREIGN_KEY = "ALTER TABLE item ADD CONSTRAINT fk FOREIGN KEY ({}) REFERENCES owner"
FORMS = {
    READ: f"""
        CREATE INDEX ON item (name)
        CREATE INDEX CONCURRENTLY ON item (name)
        CREATE INDEX ON item (maybe) WHERE maybe IS NOT NULL
        CREATE UNIQUE INDEX CONCURRENTLY ON item (id, name)
        ALTER TABLE item ADD UNIQUE (id, name)
        ALTER TABLE item DROP CONSTRAINT item_pkey -> ALTER TABLE item ADD PRIMARY KEY (id)
        ALTER TABLE item ADD EXCLUDE USING gist (during WITH &&)
        ALTER TABLE item ADD CHECK (amount >= 0)
        ALTER TABLE item ADD CONSTRAINT ck CHECK (id > 0) NOT VALID
            -> ALTER TABLE item VALIDATE CONSTRAINT ck
        ALTER TABLE item ALTER amount SET NOT NULL
        18: ALTER TABLE item ADD CONSTRAINT nn NOT NULL amount NOT VALID
            -> ALTER TABLE item VALIDATE CONSTRAINT nn
        ALTER TABLE item ADD COLUMN extra integer DEFAULT 1 CHECK (extra > 0)
        {FOREIGN_KEY.format("owner_id")}
        {FOREIGN_KEY.format("maybe")}
        {INDEX} -> {FOREIGN_KEY.format("owner_id")}
        {INDEX} -> {FOREIGN_KEY.format("maybe")}
        {FOREIGN_KEY.format("owner_id")} NOT VALID -> ALTER TABLE item VALIDATE CONSTRAINT fk
        {INDEX}; {FOREIGN_KEY.format("maybe")} NOT VALID
            -> ALTER TABLE item VALIDATE CONSTRAINT fk
        ALTER DOMAIN short ADD CHECK (VALUE > '')
        ALTER TABLE item ALTER id SET NOT NULL
            -> ALTER TABLE whole ATTACH PARTITION item FOR VALUES FROM (1) TO (5000)
        ALTER TABLE whole ATTACH PARTITION item DEFAULT
            -> CREATE TABLE part PARTITION OF whole FOR VALUES FROM (2000) TO (5000)
        REINDEX INDEX item_pkey
        REINDEX TABLE item
        REINDEX TABLE CONCURRENTLY item
        VACUUM item
        CREATE MATERIALIZED VIEW copy AS SELECT * FROM item
        CREATE MATERIALIZED VIEW copy AS SELECT * FROM item -> REFRESH MATERIALIZED VIEW copy
        CREATE TABLE copy AS SELECT * FROM item
        SELECT count(*) FROM item
        UPDATE item SET name = 'x' WHERE amount >= 0
        DELETE FROM item WHERE amount < 0
    """,
    REWRITTEN: """
        ALTER TABLE item ALTER id TYPE bigint
        ALTER TABLE item ALTER name TYPE varchar(5)
        ALTER TABLE item ALTER amount TYPE numeric(9, 3)
        ALTER TABLE item ADD COLUMN extra uuid DEFAULT gen_random_uuid()
        ALTER TABLE item ADD COLUMN extra integer GENERATED ALWAYS AS IDENTITY
        ALTER TABLE item ADD COLUMN extra integer GENERATED ALWAYS AS (id + 1) STORED
        ALTER TABLE item SET UNLOGGED
        CLUSTER item USING item_pkey
        VACUUM FULL item
    """,
    NEITHER: f"""
        CREATE UNIQUE INDEX uq ON item (name) -> ALTER TABLE item ADD UNIQUE USING INDEX uq
        ALTER TABLE item DROP CONSTRAINT item_pkey; CREATE UNIQUE INDEX uq ON item (id)
            -> ALTER TABLE item ADD PRIMARY KEY USING INDEX uq
        ALTER TABLE item ADD CHECK (amount >= 0) NOT VALID
        ALTER TABLE item ADD CHECK (amount IS NOT NULL)
            -> ALTER TABLE item ALTER amount SET NOT NULL
        18: ALTER TABLE item ADD NOT NULL amount NOT VALID
        {FOREIGN_KEY.format("owner_id")} NOT VALID
        ALTER TABLE item ADD COLUMN extra integer REFERENCES owner
        ALTER TABLE item ADD COLUMN extra integer NOT NULL DEFAULT 1
        ALTER TABLE item ALTER name TYPE varchar(20)
        ALTER TABLE item ALTER name TYPE text
        ALTER TABLE item ALTER amount TYPE numeric(12, 2)
        ALTER TABLE item ALTER amount SET DEFAULT 1
        ALTER TABLE item ALTER amount SET STATISTICS 500
        ALTER TABLE item ALTER name SET STORAGE EXTERNAL
        ALTER TABLE item SET (fillfactor = 70)
        ALTER TABLE item DROP COLUMN amount
        ALTER TABLE item RENAME amount TO sum
        ALTER TABLE item ADD CHECK (id IS NOT NULL AND id >= 1 AND id < 5000)
            -> ALTER TABLE whole ATTACH PARTITION item FOR VALUES FROM (1) TO (5000)
        ALTER TABLE whole ATTACH PARTITION item FOR VALUES FROM (1) TO (5000)
            -> ALTER TABLE whole DETACH PARTITION item
        ANALYZE item
        CREATE STATISTICS st ON id, name FROM item
        DROP TABLE item
        SELECT * FROM item WHERE id = 7
        SELECT min(id) FROM item
        UPDATE item SET name = 'x' WHERE id = 7
        DELETE FROM item WHERE id = 7
    """,
}
CASES = [
    (form.strip(), effect)
    for effect, forms in FORMS.items()
    for form in forms.replace("\n            ->", " ->").strip().splitlines()
]


@pytest.fixture(scope="module")
def tables(make_database: Factory) -> str:
    url = make_database()
    execute(url, *TABLES.split(";\n"))
    return name_of(url)


@pytest.mark.parametrize(("form", "effect"), CASES, ids=[form for form, _ in CASES])
def test_effect_on_rows(
    form: str, effect: str, tables: str, make_database: Factory, server: str
) -> None:
    if form.startswith("18: ") and scalar(server, "SHOW server_version_num") < "18":
        pytest.skip("from PostgreSQL 18 on")
    *earlier, statement = form.removeprefix("18: ").split(" -> ")
    found = {}
    for title, change in BEFORE.items():
        url = make_database(tables)
        execute(url, *"".join(earlier).split(";"))

        def migrate(connection: Connection, change: str = change) -> None:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            for each in filter(None, (change, statement)):
                connection.exec_driver_sql(each)

        last = observe(url, migrate, LIBRARY).statements[-1]
        found[title] = (
            REWRITTEN if "item" in last.rewritten else READ if "item" in last.read else NEITHER
        )
        assert "owner" not in last.read, "it is only referred to"
        make_database.drop(url)
    expected = dict.fromkeys(BEFORE, effect)
    if effect == READ:
        expected["without rows"] = NEITHER
    assert found == expected
