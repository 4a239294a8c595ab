-- A database whose own name needs quotes, with an ordinary schema. From PostgreSQL 10 on.

CREATE TABLE "Order" (
    "Id"      serial PRIMARY KEY,
    "group"   text NOT NULL DEFAULT 'none',
    "a b"     integer,
    payload   text
);
CREATE TABLE keyless ("user" text, "when" timestamptz DEFAULT now(), n numeric);
CREATE TABLE empty (id integer PRIMARY KEY);
CREATE TABLE "no columns" ();
CREATE SCHEMA "We ird";
CREATE TABLE "We ird"."ta ble" (id bigint PRIMARY KEY, "%" text, "a.b" text[]);
-- Its owner may not enter the schema, nor insert: a superuser gave it away.
CREATE ROLE "Out sider" NOLOGIN;
CREATE TABLE "We ird".given (id integer PRIMARY KEY, what text);
ALTER TABLE "We ird".given OWNER TO "Out sider";
REVOKE INSERT, TRUNCATE ON "We ird".given FROM "Out sider";
CREATE VIEW "We ird"."vi ew" AS SELECT o."Id", t."%" FROM "Order" o JOIN "We ird"."ta ble" t ON t.id = o."Id";
CREATE INDEX "in dex" ON "Order" ("a b") WHERE "group" <> 'none';

INSERT INTO "Order" ("group", "a b", payload) SELECT 'g' || i % 5, i, repeat(md5(i::text), 1 + i % 100) FROM generate_series(1, 3000) i;
INSERT INTO keyless SELECT 'u' || i % 10, '2026-01-01 00:00+00', i / 3.0 FROM generate_series(1, 2000) i;
INSERT INTO "We ird"."ta ble" SELECT i, repeat('%', i % 9), ARRAY[NULL, 'x,y', '{"'] FROM generate_series(1, 1000) i;
INSERT INTO "We ird".given SELECT i, 'given ' || i FROM generate_series(1, 100) i;
INSERT INTO "no columns" SELECT FROM generate_series(1, 7);
