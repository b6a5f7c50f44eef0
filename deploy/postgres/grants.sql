-- What reconciler_app (roles.sql) may do: read and write rows. It may make, change, empty and drop no table.
--
--     psql -v ON_ERROR_STOP=1 -d reconciler -f grants.sql
--
-- As the administrator, before the first `reconciler migrate` or after it; never again after an upgrade.

GRANT USAGE ON SCHEMA public TO reconciler_app;

-- The tables that are there.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO reconciler_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO reconciler_app;

-- Those that a later migration makes.
ALTER DEFAULT PRIVILEGES FOR ROLE reconciler IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO reconciler_app;
ALTER DEFAULT PRIVILEGES FOR ROLE reconciler IN SCHEMA public GRANT USAGE ON SEQUENCES TO reconciler_app;
