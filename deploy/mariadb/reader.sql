-- A user that reads results: the billing system's (docs/reading-states.md). As the server's administrator, after grants.sql and the
-- first `reconciler migrate`; never again after an upgrade:
--
--     mariadb < reader.sql
--
-- The user is locked until you give it a password, at the prompt of `mariadb`:
--
--     ALTER USER billing IDENTIFIED BY '...' ACCOUNT UNLOCK;
--
-- Put REQUIRE SSL before ACCOUNT where it connects over a network.

CREATE USER billing ACCOUNT LOCK;
GRANT SELECT ON reconciler.recharge_orders TO billing;
GRANT SELECT ON reconciler.order_events TO billing;
GRANT SELECT ON reconciler.platform_queries TO billing;
GRANT SELECT ON reconciler.rejected_orders TO billing;
