-- Two roles: an owner that migrates, and an application role that reads and writes rows only.
--
-- Run it as a superuser, or as a role with CREATEROLE that owns the database (as on managed
-- clouds), in the database that is to be migrated, before or after the first
-- migration, as often as you like. The database should be the bot's alone: all tables of its
-- schema public become the owner's, and the application's to read and write.
--
--     psql --set owner=trading_owner --set app=trading_app --file docs/roles.sql DATABASE
--
-- Then give each its password, with \password trading_owner and \password trading_app.

\set ON_ERROR_STOP on

BEGIN;

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY[:'owner', :'app']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

-- Who is no superuser has to be a member to give tables to the owner.
SELECT format('GRANT %I TO CURRENT_USER', :'owner')
FROM pg_roles
WHERE rolname = current_user AND NOT rolsuper
\gexec

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
GRANT USAGE ON SCHEMA public TO :"app";

-- Alembic's own table, with Alembic's definition. Created here, it does not get the default
-- privileges below, so the application has read-only access.
CREATE TABLE IF NOT EXISTS public.alembic_version (
    version_num varchar(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Existing tables of other roles.
SELECT format('ALTER TABLE %s OWNER TO %I', pg_class.oid::regclass, :'owner')
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
\gexec
-- Existing functions, but for those of extensions and of unrelated roles. Everyone may run them.
SELECT format('ALTER ROUTINE %s OWNER TO %I', oid::regprocedure, :'owner')
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND pg_has_role(proowner, 'MEMBER')
    AND NOT EXISTS (
        SELECT FROM pg_depend
        WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
    )
\gexec
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"app";
REVOKE INSERT, UPDATE, DELETE ON public.alembic_version FROM :"app";
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO :"app";

-- Tables that the owner creates later, and sequences, which identity columns do not need, but the
-- defaults of docs/scale.md do.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO :"app";

COMMIT;
