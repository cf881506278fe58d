-- The embedded database. Everything here is created when absent and safe to run again.

CREATE TABLE IF NOT EXISTS users (
    id         INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id > 0),
    name       TEXT NOT NULL CHECK (typeof(name) = 'text' AND length(name) <= 255),
    email      TEXT NOT NULL UNIQUE CHECK (typeof(email) = 'text' AND length(email) <= 255),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    status     TEXT NOT NULL DEFAULT 'active' CHECK (typeof(status) = 'text' AND length(status) <= 16)
);

CREATE TABLE IF NOT EXISTS cachefront_settings (
    name        TEXT PRIMARY KEY,
    value       TEXT NOT NULL,
    environment TEXT,
    version     INTEGER NOT NULL,
    changed_at  TEXT NOT NULL
);

-- The modes that were in force.
CREATE TABLE IF NOT EXISTS cachefront_modes (
    version    INTEGER PRIMARY KEY,
    mode       TEXT NOT NULL,
    changed_at TEXT NOT NULL
);

-- Who did what. `times` counts refusals of the same kind.
CREATE TABLE IF NOT EXISTS cachefront_audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     TEXT NOT NULL,
    who    TEXT NOT NULL,
    what   TEXT NOT NULL,
    result TEXT NOT NULL,
    times  INTEGER NOT NULL DEFAULT 1
);

-- Texts of any length, some of them until a time in seconds since 1970: results, and sessions that were ended.
CREATE TABLE IF NOT EXISTS cachefront_kept (
    name    TEXT PRIMARY KEY,
    value   TEXT NOT NULL,
    expires INTEGER
);

-- Which file this is: the origin of its positions.
CREATE TABLE IF NOT EXISTS cachefront_file (
    uuid TEXT NOT NULL
);
INSERT INTO cachefront_file (uuid)
SELECT lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8'
    || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))
WHERE NOT EXISTS (SELECT 1 FROM cachefront_file);

-- The change log. SQLite has one writer at a time and takes back the numbers of a transaction that is rolled back, so
-- `seq` is the order of commits and has no holes. It tells a trigger nothing about its transaction; as all rows of one
-- become visible at once, each may count as a transaction of its own. `at` is when the statement ran, in ms.
CREATE TABLE IF NOT EXISTS cachefront_log (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    tx     INTEGER GENERATED ALWAYS AS (seq) VIRTUAL,
    tbl    TEXT NOT NULL,
    op     TEXT NOT NULL,
    before TEXT,
    after  TEXT,
    at     INTEGER NOT NULL
        DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000 + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER))
);

-- Holds a row only while `cachefront_users_touch` runs, so that its own update is not logged a second time.
CREATE TABLE IF NOT EXISTS cachefront_touch (
    id INTEGER PRIMARY KEY
);

-- The log is bounded even if nobody reads it. A reader that falls behind this far notices the gap and starts over.
CREATE TRIGGER IF NOT EXISTS cachefront_log_bound AFTER INSERT ON cachefront_log BEGIN
    DELETE FROM cachefront_log WHERE seq <= NEW.seq - 100000;
END;

CREATE TRIGGER IF NOT EXISTS cachefront_users_insert AFTER INSERT ON users BEGIN
    INSERT INTO cachefront_log (tbl, op, after)
    VALUES ('users', 'insert',
        json_object('id', NEW.id, 'name', NEW.name, 'email', NEW.email, 'updated_at', NEW.updated_at,
            'status', NEW.status));
END;

CREATE TRIGGER IF NOT EXISTS cachefront_users_delete AFTER DELETE ON users BEGIN
    INSERT INTO cachefront_log (tbl, op, before)
    VALUES ('users', 'delete',
        json_object('id', OLD.id, 'name', OLD.name, 'email', OLD.email, 'updated_at', OLD.updated_at,
            'status', OLD.status));
END;

CREATE TRIGGER IF NOT EXISTS cachefront_users_update AFTER UPDATE ON users
WHEN NEW.updated_at IS NOT OLD.updated_at AND NOT EXISTS (SELECT 1 FROM cachefront_touch) BEGIN
    INSERT INTO cachefront_log (tbl, op, before, after)
    VALUES ('users', 'update',
        json_object('id', OLD.id, 'name', OLD.name, 'email', OLD.email, 'updated_at', OLD.updated_at,
            'status', OLD.status),
        json_object('id', NEW.id, 'name', NEW.name, 'email', NEW.email, 'updated_at', NEW.updated_at,
            'status', NEW.status));
END;

-- A program that does not know of `updated_at` gets it set, as MySQL's ON UPDATE does.
CREATE TRIGGER IF NOT EXISTS cachefront_users_touch AFTER UPDATE ON users
WHEN NEW.updated_at IS OLD.updated_at AND NOT EXISTS (SELECT 1 FROM cachefront_touch) BEGIN
    INSERT INTO cachefront_touch (id) VALUES (NEW.id);
    UPDATE users SET updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') WHERE id = NEW.id;
    DELETE FROM cachefront_touch;
    INSERT INTO cachefront_log (tbl, op, before, after)
    SELECT 'users', 'update',
        json_object('id', OLD.id, 'name', OLD.name, 'email', OLD.email, 'updated_at', OLD.updated_at,
            'status', OLD.status),
        json_object('id', id, 'name', name, 'email', email, 'updated_at', updated_at,
            'status', status)
    FROM users WHERE id = NEW.id;
END;

-- REPLACE removes the rows that are in its way without a delete trigger, unless its own connection has
-- recursive_triggers on, and other programs' have not. So those rows are named here; naming one too many is harmless.
CREATE TRIGGER IF NOT EXISTS cachefront_users_replace BEFORE INSERT ON users
WHEN EXISTS (SELECT 1 FROM users WHERE id = NEW.id OR email = NEW.email) BEGIN
    INSERT INTO cachefront_log (tbl, op, before, after)
    SELECT 'users', 'update',
        json_object('id', id, 'name', name, 'email', email, 'updated_at', updated_at,
            'status', status),
        json_object('id', id, 'name', name, 'email', email, 'updated_at', updated_at,
            'status', status)
    FROM users WHERE id = NEW.id OR email = NEW.email;
END;

CREATE TRIGGER IF NOT EXISTS cachefront_users_displace BEFORE UPDATE ON users
WHEN EXISTS (SELECT 1 FROM users WHERE id <> OLD.id AND (id = NEW.id OR email = NEW.email)) BEGIN
    INSERT INTO cachefront_log (tbl, op, before, after)
    SELECT 'users', 'update',
        json_object('id', id, 'name', name, 'email', email, 'updated_at', updated_at,
            'status', status),
        json_object('id', id, 'name', name, 'email', email, 'updated_at', updated_at,
            'status', status)
    FROM users WHERE id <> OLD.id AND (id = NEW.id OR email = NEW.email);
END;
