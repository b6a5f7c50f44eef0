-- The reconciler's two roles and its database, on PostgreSQL 14 or newer. As the server's administrator, once:
--
--     psql -v ON_ERROR_STOP=1 -f roles.sql
--     psql -c '\password reconciler' -c '\password reconciler_app'
--     psql -v ON_ERROR_STOP=1 -d reconciler -f grants.sql
--
-- Change the names where this server has others, in grants.sql as well. For connections from other hosts pg_hba.conf needs
--
--     hostssl  reconciler  reconciler,reconciler_app  10.0.0.0/8  scram-sha-256

-- Owns the tables: of `reconciler migrate` alone.
CREATE ROLE reconciler LOGIN;
-- Of worker, beat, serve and all other commands: reads and writes rows, and no more.
CREATE ROLE reconciler_app LOGIN;

-- From template0: another template would decide the encoding.
CREATE DATABASE reconciler OWNER reconciler ENCODING 'UTF8' TEMPLATE template0;
-- Otherwise every role of this server may connect, and make temporary tables. reader.sql has a role that only reads.
REVOKE ALL ON DATABASE reconciler FROM PUBLIC;
GRANT CONNECT ON DATABASE reconciler TO reconciler_app;

\connect reconciler
-- Before PostgreSQL 15 every role may make tables in here.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO reconciler;
