-- A role that reads results: the billing system's (docs/reading-states.md). As the server's administrator, after roles.sql and the
-- first `reconciler migrate`; never again after an upgrade:
--
--     psql -v ON_ERROR_STOP=1 -d reconciler -f reader.sql
--     psql -c '\password billing'
--
-- Change the names where this server has others. For connections from other hosts pg_hba.conf needs
--
--     hostssl  reconciler  billing  10.0.0.0/8  scram-sha-256

CREATE ROLE billing LOGIN;
-- roles.sql takes both from all who do not have them by name.
GRANT CONNECT ON DATABASE reconciler TO billing;
GRANT USAGE ON SCHEMA public TO billing;
GRANT SELECT ON recharge_orders, order_events, platform_queries, rejected_orders TO billing;
-- Only the strict cursor of docs/reading-states.md needs it: the starts of all transactions.
-- GRANT pg_read_all_stats TO billing;
