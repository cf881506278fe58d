-- Adds the column `status` to a file of an earlier version. Its triggers log rows without the column: they are created again.

ALTER TABLE users ADD COLUMN
    status TEXT NOT NULL DEFAULT 'active' CHECK (typeof(status) = 'text' AND length(status) <= 16);
DROP TRIGGER IF EXISTS cachefront_users_insert;
DROP TRIGGER IF EXISTS cachefront_users_delete;
DROP TRIGGER IF EXISTS cachefront_users_update;
DROP TRIGGER IF EXISTS cachefront_users_touch;
DROP TRIGGER IF EXISTS cachefront_users_replace;
DROP TRIGGER IF EXISTS cachefront_users_displace;
