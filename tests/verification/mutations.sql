-- Changes by which a database drifts from the schema of the library, by kind and title. Each is
-- made in a schema of its own with the tables that it names, or in a database if it says "alone".
-- A number is the first release of PostgreSQL that supports it.

-- # tables
-- a table is missing
DROP TABLE suggestion;
-- a table has another name
ALTER TABLE loan RENAME TO borrowing;
-- an unknown table
CREATE TABLE shelf (id integer PRIMARY KEY);
-- an unknown partitioned table
CREATE TABLE shelf (id integer) PARTITION BY RANGE (id);
-- a table is in another schema
CREATE SCHEMA elsewhere; ALTER TABLE suggestion SET SCHEMA elsewhere;
-- a table is unlogged
ALTER TABLE suggestion SET UNLOGGED;
-- a table has a child
CREATE TABLE old_author () INHERITS (author);
-- a table has a parent
CREATE TABLE titled (title text); ALTER TABLE suggestion INHERIT titled;
-- a typed table (alone)
CREATE TYPE version AS (version_num varchar(32)); ALTER TABLE alembic_version OF version;

-- # columns
-- a column is missing
ALTER TABLE author DROP born;
-- a NOT NULL column is missing
ALTER TABLE staff DROP name;
-- a column has another name
ALTER TABLE "user" RENAME name TO full_name;
-- an unknown column
ALTER TABLE "user" ADD nickname text;
-- an unknown column, filled in every row
ALTER TABLE loan ADD renewed boolean NOT NULL DEFAULT false;
-- another order of columns
ALTER TABLE author DROP born; ALTER TABLE author ADD born date;
-- numeric with a smaller scale
ALTER TABLE payment ALTER amount TYPE numeric(12, 1);
-- numeric with precision and scale swapped
ALTER TABLE fee ALTER amount TYPE numeric(8, 6);
-- numeric without precision
ALTER TABLE payment ALTER amount TYPE numeric;
-- a price with the precision of payments
ALTER TABLE book ALTER price TYPE numeric(12, 2);
-- double precision for money
ALTER TABLE fee ALTER amount TYPE double precision;
-- a longer varchar
ALTER TABLE "user" ALTER email TYPE varchar(321);
-- a shorter varchar
ALTER TABLE staff ALTER nickname TYPE varchar(49);
-- varchar without a length
ALTER TABLE "user" ALTER email TYPE varchar;
-- varchar instead of text
ALTER TABLE author ALTER name TYPE varchar(10000);
-- text instead of varchar
ALTER TABLE country ALTER code TYPE text;
-- char instead of varchar
ALTER TABLE country ALTER code TYPE char(2);
-- bigint instead of integer
ALTER TABLE staff ALTER id TYPE bigint;
-- smallint instead of integer
ALTER TABLE book ALTER pages TYPE smallint;
-- a timestamp without time zone
ALTER TABLE loan ALTER lent_at TYPE timestamp without time zone;
-- a timestamp rounded to seconds
ALTER TABLE "user" ALTER joined_at TYPE timestamp(0) with time zone;
-- an array
ALTER TABLE suggestion ALTER title TYPE text[] USING NULL;
-- another collation
ALTER TABLE "user" ALTER email TYPE varchar(320) COLLATE "C";
-- a column became nullable
ALTER TABLE book ALTER price DROP NOT NULL;
-- a timestamp became nullable
ALTER TABLE "user" ALTER joined_at DROP NOT NULL;
-- a column became NOT NULL
ALTER TABLE book ALTER isbn SET NOT NULL;
-- a NOT NULL constraint has another name (18)
ALTER TABLE book RENAME CONSTRAINT book_price_not_null TO price_present;
-- NOT NULL does not hold for children (18)
ALTER TABLE book ALTER price DROP NOT NULL; ALTER TABLE book ADD NOT NULL price NO INHERIT;
-- NOT NULL is not validated (18)
ALTER TABLE book ADD CONSTRAINT numbered NOT NULL isbn NOT VALID;
-- NOT NULL is not enforced
SET allow_system_table_mods = on;
UPDATE pg_attribute SET attnotnull = false
WHERE attrelid = '"user"'::regclass AND attname = 'email';
-- a generated column
ALTER TABLE author DROP born; ALTER TABLE author ADD born date GENERATED ALWAYS AS ('2000-01-01') STORED;
-- a virtual column (18)
ALTER TABLE book ADD double_price numeric GENERATED ALWAYS AS (price * 2) VIRTUAL;
-- another storage
ALTER TABLE author ALTER name SET STORAGE EXTERNAL;
-- another compression
ALTER TABLE author ALTER name SET COMPRESSION pglz;
-- a statistics target
ALTER TABLE author ALTER name SET STATISTICS 1000;
-- a number of distinct values
ALTER TABLE book ALTER format SET (n_distinct = 3);

-- # defaults
-- a default is missing
ALTER TABLE book ALTER format DROP DEFAULT;
-- a timestamp has no default
ALTER TABLE loan ALTER lent_at DROP DEFAULT;
-- another value of an enum
ALTER TABLE book ALTER format SET DEFAULT 'audio';
-- a default where there was none
ALTER TABLE suggestion ALTER tags SET DEFAULT '{}';
-- another number
ALTER TABLE book ALTER pages SET DEFAULT 6;
-- a text
ALTER TABLE staff ALTER name SET DEFAULT 'trainee';
-- clock_timestamp() instead of now()
ALTER TABLE "user" ALTER joined_at SET DEFAULT clock_timestamp();
-- another function for a uuid
ALTER TABLE payment ALTER id SET DEFAULT md5('1')::uuid;
-- a constant as the time
ALTER TABLE payment ALTER paid_at SET DEFAULT '2026-01-01 00:00+00';

-- # identity and sequences
-- no identity
ALTER TABLE loan ALTER id DROP IDENTITY;
-- GENERATED ALWAYS
ALTER TABLE "user" ALTER id SET GENERATED ALWAYS;
-- a separate sequence instead of an identity
ALTER TABLE staff ALTER id DROP IDENTITY;
CREATE SEQUENCE staff_id_seq AS integer OWNED BY staff.id;
ALTER TABLE staff ALTER id SET DEFAULT nextval('staff_id_seq');
-- an identity where there is none
ALTER TABLE authorship ALTER position ADD GENERATED BY DEFAULT AS IDENTITY;
-- another increment
ALTER SEQUENCE loan_id_seq INCREMENT 10;
-- another start
ALTER SEQUENCE loan_id_seq START 1000;
-- a lower maximum
ALTER SEQUENCE user_id_seq MAXVALUE 32767; -- of "user"
-- a negative minimum
ALTER SEQUENCE staff_id_seq MINVALUE -10;
-- a sequence that cycles
ALTER SEQUENCE loan_id_seq CYCLE;
-- a sequence cache
ALTER SEQUENCE staff_id_seq CACHE 100;
-- another name of a sequence
ALTER SEQUENCE user_id_seq RENAME TO users; -- of "user"
-- a sequence of bigint
ALTER SEQUENCE staff_id_seq AS bigint;
-- an unlogged sequence
ALTER SEQUENCE loan_id_seq SET UNLOGGED;
-- an unknown sequence
CREATE SEQUENCE shelf_numbers;

-- # primary and unique keys
-- no primary key
ALTER TABLE payment DROP CONSTRAINT pk_payment;
-- a primary key on more columns
ALTER TABLE payment DROP CONSTRAINT pk_payment, ADD CONSTRAINT pk_payment PRIMARY KEY (id, paid_at);
-- another name of a primary key
ALTER TABLE "user" RENAME CONSTRAINT pk_user TO user_pkey;
-- a deferrable primary key
ALTER TABLE payment DROP CONSTRAINT pk_payment, ADD CONSTRAINT pk_payment PRIMARY KEY (id) DEFERRABLE;
-- a primary key that includes a column
ALTER TABLE payment DROP CONSTRAINT pk_payment,
ADD CONSTRAINT pk_payment PRIMARY KEY (id) INCLUDE (user_id);
-- no unique constraint
ALTER TABLE book DROP CONSTRAINT uq_book_isbn;
-- no key that a composite foreign key references
ALTER TABLE copy DROP CONSTRAINT pk_copy CASCADE;
-- a unique constraint on more columns
ALTER TABLE book DROP CONSTRAINT uq_book_isbn, ADD CONSTRAINT uq_book_isbn UNIQUE (isbn, format);
-- NULLS NOT DISTINCT
ALTER TABLE book DROP CONSTRAINT uq_book_isbn,
ADD CONSTRAINT uq_book_isbn UNIQUE NULLS NOT DISTINCT (isbn);
-- a deferrable unique constraint
ALTER TABLE book DROP CONSTRAINT uq_book_isbn,
ADD CONSTRAINT uq_book_isbn UNIQUE (isbn) DEFERRABLE INITIALLY DEFERRED;
-- a unique index instead of a constraint
ALTER TABLE book DROP CONSTRAINT uq_book_isbn; CREATE UNIQUE INDEX uq_book_isbn ON book (isbn);
-- an unknown unique constraint
ALTER TABLE staff ADD CONSTRAINT one_per_branch UNIQUE (branch_id);
-- unique names of authors
CREATE UNIQUE INDEX one_name ON author (name, born);
-- an exclusion constraint
ALTER TABLE staff ADD CONSTRAINT one_name EXCLUDE USING btree (name WITH =) WHERE (branch_id = 1);

-- # check constraints
-- no check
ALTER TABLE book DROP CONSTRAINT ck_book_price_positive;
-- greater or equal instead of greater than
ALTER TABLE book DROP CONSTRAINT ck_book_price_positive,
ADD CONSTRAINT ck_book_price_positive CHECK (price >= 0);
-- NULL is refused instead
ALTER TABLE book DROP CONSTRAINT ck_book_pages_positive,
ADD CONSTRAINT ck_book_pages_positive CHECK (pages IS NOT NULL);
-- another pattern
ALTER TABLE country DROP CONSTRAINT ck_country_code_letters,
ADD CONSTRAINT ck_country_code_letters CHECK (code ~ '^[A-Z]+$');
-- a case less
ALTER TABLE loan DROP CONSTRAINT ck_loan_returned_later,
ADD CONSTRAINT ck_loan_returned_later CHECK (returned_at > lent_at);
-- another limit
ALTER TABLE book DROP CONSTRAINT ck_book_pages_positive,
ADD CONSTRAINT ck_book_pages_positive CHECK (pages > 1);
-- a check that is always true
ALTER TABLE "user" DROP CONSTRAINT ck_user_email_form,
ADD CONSTRAINT ck_user_email_form CHECK (true);
-- two checks with swapped names
ALTER TABLE book RENAME CONSTRAINT ck_book_pages_positive TO x;
ALTER TABLE book RENAME CONSTRAINT ck_book_price_positive TO ck_book_pages_positive;
ALTER TABLE book RENAME CONSTRAINT x TO ck_book_price_positive;
-- another name of a check
ALTER TABLE loan RENAME CONSTRAINT ck_loan_note_not_empty TO noted;
-- an unknown check
ALTER TABLE author ADD CONSTRAINT named CHECK (name <> '');
-- a check that is not validated
ALTER TABLE loan DROP CONSTRAINT ck_loan_note_not_empty,
ADD CONSTRAINT ck_loan_note_not_empty CHECK (note <> '') NOT VALID;
-- a check that is not enforced (18)
ALTER TABLE loan DROP CONSTRAINT ck_loan_note_not_empty,
ADD CONSTRAINT ck_loan_note_not_empty CHECK (note <> '') NOT ENFORCED;
-- a check that children do not inherit
ALTER TABLE loan DROP CONSTRAINT ck_loan_note_not_empty,
ADD CONSTRAINT ck_loan_note_not_empty CHECK (note <> '') NO INHERIT;

-- # foreign keys
-- no foreign key
ALTER TABLE author DROP CONSTRAINT fk_author_country_code;
-- no composite foreign key
ALTER TABLE loan DROP CONSTRAINT fk_loan_book_id_number;
-- ON DELETE CASCADE
ALTER TABLE payment DROP CONSTRAINT fk_payment_user_id,
ADD CONSTRAINT fk_payment_user_id FOREIGN KEY (user_id) REFERENCES "user" ON DELETE CASCADE;
-- ON DELETE SET NULL
ALTER TABLE author DROP CONSTRAINT fk_author_country_code,
ADD CONSTRAINT fk_author_country_code FOREIGN KEY (country_code) REFERENCES country ON DELETE SET NULL;
-- RESTRICT instead of NO ACTION
ALTER TABLE payment DROP CONSTRAINT fk_payment_user_id,
ADD CONSTRAINT fk_payment_user_id FOREIGN KEY (user_id) REFERENCES "user" ON DELETE RESTRICT;
-- ON UPDATE
ALTER TABLE author DROP CONSTRAINT fk_author_country_code,
ADD CONSTRAINT fk_author_country_code FOREIGN KEY (country_code) REFERENCES country ON UPDATE CASCADE;
-- another table
ALTER TABLE payment DROP CONSTRAINT fk_payment_user_id,
ADD CONSTRAINT fk_payment_user_id FOREIGN KEY (user_id) REFERENCES loan;
-- DEFERRABLE
ALTER TABLE payment DROP CONSTRAINT fk_payment_user_id,
ADD CONSTRAINT fk_payment_user_id FOREIGN KEY (user_id) REFERENCES "user" DEFERRABLE;
-- MATCH FULL
ALTER TABLE loan DROP CONSTRAINT fk_loan_book_id_number,
ADD CONSTRAINT fk_loan_book_id_number FOREIGN KEY (book_id, number) REFERENCES copy MATCH FULL;
-- a foreign key NOT VALID
ALTER TABLE payment DROP CONSTRAINT fk_payment_user_id,
ADD CONSTRAINT fk_payment_user_id FOREIGN KEY (user_id) REFERENCES "user" NOT VALID;
-- a foreign key NOT ENFORCED (18)
ALTER TABLE payment DROP CONSTRAINT fk_payment_user_id,
ADD CONSTRAINT fk_payment_user_id FOREIGN KEY (user_id) REFERENCES "user" NOT ENFORCED;
-- ON DELETE RESTRICT instead of CASCADE
ALTER TABLE authorship DROP CONSTRAINT fk_authorship_book_id,
ADD CONSTRAINT fk_authorship_book_id FOREIGN KEY (book_id) REFERENCES book ON DELETE RESTRICT;
-- INITIALLY DEFERRED
ALTER TABLE staff ALTER CONSTRAINT fk_staff_branch_id DEFERRABLE INITIALLY DEFERRED;
-- another name of a foreign key
ALTER TABLE staff RENAME CONSTRAINT fk_staff_branch_id TO fk_branch;
-- an unknown foreign key
ALTER TABLE loan ADD CONSTRAINT odd FOREIGN KEY (book_id) REFERENCES book;
-- the triggers of a foreign key are disabled
ALTER TABLE staff DISABLE TRIGGER ALL;
-- a foreign key without its triggers
SET allow_system_table_mods = on; DELETE FROM pg_trigger WHERE tgrelid = 'authorship'::regclass;
-- a comment on a trigger of a foreign key
DO $$ DECLARE t name; BEGIN
SELECT tgname INTO t FROM pg_trigger WHERE tgrelid = 'authorship'::regclass LIMIT 1;
EXECUTE format('COMMENT ON TRIGGER %I ON authorship IS %L', t, current_schema()); END $$;
-- another name of a trigger of a foreign key
DO $$ DECLARE t name; BEGIN
SELECT tgname INTO t FROM pg_trigger WHERE tgrelid = 'authorship'::regclass LIMIT 1;
EXECUTE format('ALTER TRIGGER %I ON authorship RENAME TO checked', t); END $$;
-- the triggers of a foreign key do not fire
SET allow_system_table_mods = on;
UPDATE pg_class SET relhastriggers = false WHERE oid = 'authorship'::regclass;
-- triggers that also fire on a replica
DO $$ DECLARE t name; BEGIN
SELECT tgname INTO t FROM pg_trigger WHERE tgrelid = 'authorship'::regclass LIMIT 1;
EXECUTE format('ALTER TABLE authorship ENABLE ALWAYS TRIGGER %I', t); END $$;

-- # indexes
-- no index
DROP INDEX ix_authorship_author_id; -- of authorship
-- an unknown index
CREATE INDEX ix_author_name ON author (name);
-- another name of an index
ALTER INDEX ix_authorship_author_id RENAME TO authors; -- of authorship
-- a unique index that is not unique
DROP INDEX uq_loan_open; CREATE INDEX uq_loan_open ON loan (book_id, number) WHERE returned_at IS NULL;
-- an index that is unique
DROP INDEX ix_payment_user_id; CREATE UNIQUE INDEX ix_payment_user_id ON payment (user_id);
-- more columns
DROP INDEX ix_payment_user_id; CREATE INDEX ix_payment_user_id ON payment (user_id, paid_at);
-- another column
DROP INDEX ix_payment_user_id; CREATE INDEX ix_payment_user_id ON payment (paid_at);
-- another method
DROP INDEX ix_payment_user_id; CREATE INDEX ix_payment_user_id ON payment USING hash (user_id);
-- another direction
DROP INDEX ix_payment_user_id; CREATE INDEX ix_payment_user_id ON payment (user_id DESC);
-- NULLS FIRST
DROP INDEX ix_payment_user_id; CREATE INDEX ix_payment_user_id ON payment (user_id NULLS FIRST);
-- a partial index
DROP INDEX ix_payment_user_id; CREATE INDEX ix_payment_user_id ON payment (user_id) WHERE amount > 9;
-- an INCLUDE list
DROP INDEX ix_payment_user_id; CREATE INDEX ix_payment_user_id ON payment (user_id) INCLUDE (amount);
-- an expression
DROP INDEX ix_payment_user_id; CREATE INDEX ix_payment_user_id ON payment ((user_id + 0));
-- a fill factor of an index
DROP INDEX ix_payment_user_id;
CREATE INDEX ix_payment_user_id ON payment (user_id) WITH (fillfactor = 70);
-- the operator class of LIKE
DROP INDEX ix_book_sort_title; CREATE INDEX ix_book_sort_title ON book (sort_title text_pattern_ops);
-- the collation of an index
DROP INDEX ix_book_sort_title; CREATE INDEX ix_book_sort_title ON book (sort_title COLLATE "POSIX");
-- another expression
DROP INDEX ix_book_search; CREATE INDEX ix_book_search ON book USING gin (to_tsvector('english', title));
-- an invalid index
SET allow_system_table_mods = on;
UPDATE pg_index SET indisvalid = false WHERE indrelid = 'payment'::regclass AND NOT indisunique;
-- a primary key is checked late
SET allow_system_table_mods = on;
UPDATE pg_index SET indimmediate = false WHERE indrelid = 'payment'::regclass AND indisprimary;
-- an index that is the replica identity
ALTER TABLE "user" REPLICA IDENTITY USING INDEX uq_user_email;
-- an index that a table is clustered on
ALTER TABLE payment CLUSTER ON ix_payment_user_id;
-- extended statistics
CREATE STATISTICS correlated ON name, born FROM author;

-- # comments
-- no comment on a table
COMMENT ON TABLE author IS NULL;
-- another comment on a table
COMMENT ON TABLE author IS 'Writers.';
-- no comment on a column
COMMENT ON COLUMN author.name IS NULL;
-- another comment on a column
COMMENT ON COLUMN copy.loan_id IS 'NULL: lost.';
-- a comment where there is none
COMMENT ON COLUMN author.born IS 'By the calendar of today.';
-- a comment on a constraint
COMMENT ON CONSTRAINT pk_payment ON payment IS 'Key.';
-- a comment on an index
COMMENT ON INDEX uq_user_email IS 'Log in.'; -- of "user"
-- a comment on the schema (alone)
COMMENT ON SCHEMA lending IS 'Loans.';
-- a comment on the type of a table's rows
COMMENT ON TYPE author IS 'Author.';
-- a comment on the type of arrays of rows
COMMENT ON TYPE _author IS 'Authors.'; -- of author
-- a comment on PL/pgSQL (alone)
COMMENT ON LANGUAGE plpgsql IS 'Unused.';

-- # triggers, functions, views, types
-- a function
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
-- a function in the system's schema (alone)
CREATE FUNCTION pg_catalog.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
-- a procedure
CREATE PROCEDURE nothing() LANGUAGE sql AS '';
-- a trigger
CREATE TRIGGER t BEFORE UPDATE ON author FOR EACH ROW
EXECUTE FUNCTION suppress_redundant_updates_trigger();
-- a rule
CREATE RULE r AS ON DELETE TO payment DO INSTEAD NOTHING;
-- a view
CREATE VIEW cheap AS SELECT * FROM book WHERE price < 1;
-- a materialised view
CREATE MATERIALIZED VIEW prices AS SELECT format, sum(price) FROM book GROUP BY 1;
-- an enum
CREATE TYPE mood AS ENUM ('good', 'bad');
-- another value of an enum's type
ALTER TYPE book_format ADD VALUE 'braille'; -- of book
-- a column of an enum
CREATE TYPE mood AS ENUM ('good', 'bad'); ALTER TABLE suggestion ALTER title TYPE mood USING NULL;
-- a domain
CREATE DOMAIN money_amount AS numeric(38, 18) CHECK (VALUE >= 0);
-- a column of a domain
CREATE DOMAIN money_amount AS numeric(8, 2); ALTER TABLE fee ALTER amount TYPE money_amount;
-- a range type
CREATE TYPE price_range AS RANGE (subtype = numeric);
-- a composite type
CREATE TYPE fill AS (price numeric, quantity numeric);
-- an aggregate
CREATE AGGREGATE total (numeric) (sfunc = numeric_add, stype = numeric);
-- an operator
CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq);
-- a cast (alone)
CREATE CAST (boolean AS bigint) WITH INOUT;
-- a collation
CREATE COLLATION plain FROM "C";
-- a text search configuration
CREATE TEXT SEARCH CONFIGURATION t (COPY = simple);
-- an event trigger (alone)
CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION e();
-- no PL/pgSQL (alone)
DROP EXTENSION plpgsql CASCADE;
-- a table that belongs to an extension
ALTER EXTENSION plpgsql ADD TABLE suggestion;
-- a function that belongs to an extension (alone)
ALTER EXTENSION plpgsql ADD FUNCTION pg_catalog.now();
-- no comment on an extension (alone)
COMMENT ON EXTENSION plpgsql IS NULL;
-- another schema (alone)
CREATE SCHEMA reporting;
-- no German text search (alone)
DROP TEXT SEARCH CONFIGURATION german;
-- PL/pgSQL is for superusers (alone)
SET allow_system_table_mods = on; UPDATE pg_language SET lanpltrusted = false WHERE lanname = 'plpgsql';

-- # policies, owners, grants
-- row security
ALTER TABLE payment ENABLE ROW LEVEL SECURITY;
-- row security for the owner as well
ALTER TABLE "user" FORCE ROW LEVEL SECURITY;
-- a policy
CREATE POLICY own ON payment USING (false);
-- another owner of a table
ALTER TABLE author OWNER TO pg_database_owner;
-- another owner of the schema (alone)
ALTER SCHEMA public OWNER TO pg_monitor;
-- another owner of the database (alone)
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO pg_monitor', current_database()); END $$;
-- SELECT granted to PUBLIC
GRANT SELECT ON payment TO PUBLIC;
-- a grant on one column
GRANT UPDATE (note) ON loan TO pg_monitor;
-- a grant WITH GRANT OPTION
GRANT SELECT ON payment TO pg_monitor WITH GRANT OPTION;
-- DELETE revoked from the owner
REVOKE DELETE ON payment FROM CURRENT_USER;
-- a grant on a sequence
GRANT USAGE ON SEQUENCE loan_id_seq TO PUBLIC;
-- CREATE on the schema granted to PUBLIC (alone)
GRANT CREATE ON SCHEMA public TO PUBLIC;
-- USAGE on the schema revoked from PUBLIC (alone)
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
-- default privileges (alone)
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
-- CONNECT revoked from PUBLIC (alone)
DO $$ BEGIN EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database()); END $$;
-- USAGE on a language revoked from PUBLIC (alone)
REVOKE USAGE ON LANGUAGE sql FROM PUBLIC;
-- EXECUTE on a system function revoked from PUBLIC (alone)
REVOKE EXECUTE ON FUNCTION pg_catalog.now() FROM PUBLIC;
-- USAGE on a table's row type revoked from PUBLIC
REVOKE USAGE ON TYPE author FROM PUBLIC;
-- SELECT on password hashes granted to PUBLIC (alone)
GRANT SELECT ON pg_catalog.pg_authid TO PUBLIC;
-- another owner of PL/pgSQL (alone)
ALTER LANGUAGE plpgsql OWNER TO pg_monitor;
-- another owner of the information schema (alone)
ALTER SCHEMA information_schema OWNER TO pg_monitor;
-- CREATE on the information schema granted to PUBLIC (alone)
GRANT CREATE ON SCHEMA information_schema TO PUBLIC;
-- SELECT on a view of the information schema revoked from PUBLIC (alone)
REVOKE SELECT ON information_schema.tables FROM PUBLIC;
-- a view of the information schema is missing (alone)
DROP VIEW information_schema.element_types CASCADE;

-- # replication, storage, settings
-- a publication (alone)
CREATE PUBLICATION p FOR TABLE payment;
-- a publication of all tables (alone)
CREATE PUBLICATION p FOR ALL TABLES;
-- REPLICA IDENTITY FULL
ALTER TABLE payment REPLICA IDENTITY FULL;
-- REPLICA IDENTITY NOTHING
ALTER TABLE author REPLICA IDENTITY NOTHING;
-- a fill factor of a table
ALTER TABLE loan SET (fillfactor = 70);
-- no autovacuum
ALTER TABLE payment SET (autovacuum_enabled = false);
-- no autovacuum of long values
ALTER TABLE author SET (toast.autovacuum_enabled = off);
-- a setting of the database (alone)
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'Asia/Tokyo'); END $$;
-- a setting of a role in the database (alone)
DO $$ BEGIN EXECUTE format(
'ALTER ROLE CURRENT_USER IN DATABASE %I SET search_path = %L', current_database(), 'pg_temp'); END $$;
-- a limit of connections (alone)
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 100', current_database()); END $$;
-- a comment on the database (alone)
DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'Production.'); END $$;
-- a foreign server (alone)
CREATE FOREIGN DATA WRAPPER w; CREATE SERVER elsewhere FOREIGN DATA WRAPPER w;
-- another revision (alone)
UPDATE alembic_version SET version_num = '0123456789ab';
-- no revision (alone)
DELETE FROM alembic_version;
-- two revisions (alone)
INSERT INTO alembic_version VALUES ('0123456789ab');

-- # no drift
-- statistics are gathered
ANALYZE;
-- a vacuum
VACUUM (ANALYZE);
-- a full vacuum
VACUUM FULL book;
-- indexes are rebuilt
REINDEX TABLE book;
-- rows are inserted
INSERT INTO author (name) SELECT n FROM generate_series(1, 100) n;
-- rows are deleted
INSERT INTO author (name) VALUES ('a'); DELETE FROM author;
-- a sequence is advanced
SELECT nextval('loan_id_seq'), setval('user_id_seq', 1000); -- of loan, "user"
-- a sequence is restarted
ALTER TABLE "user" ALTER id RESTART WITH 500;
-- an identical check is created again
ALTER TABLE book DROP CONSTRAINT ck_book_price_positive,
ADD CONSTRAINT ck_book_price_positive CHECK (price > 0);
-- an identical foreign key is created again, validated afterwards
ALTER TABLE payment DROP CONSTRAINT fk_payment_user_id,
ADD CONSTRAINT fk_payment_user_id FOREIGN KEY (user_id) REFERENCES "user" NOT VALID;
ALTER TABLE payment VALIDATE CONSTRAINT fk_payment_user_id;
-- an identical index is created again
DROP INDEX ix_payment_user_id; CREATE INDEX ix_payment_user_id ON payment (user_id);
-- an index is rebuilt concurrently
REINDEX INDEX CONCURRENTLY ix_payment_user_id; -- of payment
-- an identical primary key is created again
ALTER TABLE payment DROP CONSTRAINT pk_payment, ADD CONSTRAINT pk_payment PRIMARY KEY (id);
-- an identical comment
COMMENT ON COLUMN author.name IS 'As on the cover.';
-- a column is renamed and renamed back
ALTER TABLE author RENAME born TO b; ALTER TABLE author RENAME b TO born;
-- a column is added and dropped again
ALTER TABLE author ADD note text; ALTER TABLE author DROP note;
-- a trigger is disabled and enabled again
ALTER TABLE staff DISABLE TRIGGER ALL; ALTER TABLE staff ENABLE TRIGGER ALL;
-- a temporary table
CREATE TEMPORARY TABLE scratch (id integer);
-- settings of the session
SET search_path = pg_catalog; SET timezone = 'Asia/Tokyo';

-- # not detectable
-- A role, its password, its settings in all databases (alone)
CREATE ROLE test_not_detectable PASSWORD 'x'; ALTER ROLE test_not_detectable SET work_mem = '1GB';
-- A large object (alone)
SELECT lo_create(0);
-- A change of PostgreSQL's own objects (alone)
ALTER FUNCTION pg_catalog.now() COST 100;
