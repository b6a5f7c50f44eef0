-- The reconciler's database and its two users, on MariaDB 10.6 or newer. As the server's administrator, once:
--
--     mariadb < grants.sql
--
-- Both users are locked until you give them their passwords, at the prompt of `mariadb`:
--
--     ALTER USER reconciler IDENTIFIED BY '...' ACCOUNT UNLOCK;
--     ALTER USER reconciler_app IDENTIFIED BY '...' ACCOUNT UNLOCK;
--
-- Put REQUIRE SSL before ACCOUNT for a user that connects over a network (the URL then needs ?ssl_ca=FILE).

CREATE DATABASE reconciler CHARACTER SET utf8mb4;

-- Makes the tables: of `reconciler migrate` alone.
CREATE USER reconciler ACCOUNT LOCK;
GRANT ALL PRIVILEGES ON reconciler.* TO reconciler;

-- Of worker, beat, serve and all other commands: reads and writes rows, and makes, changes, empties and drops no table.
CREATE USER reconciler_app ACCOUNT LOCK;
GRANT SELECT, INSERT, UPDATE, DELETE ON reconciler.* TO reconciler_app;
