-- Quotes, backslashes and non-ASCII in every name there is. From PostgreSQL 11 on.

CREATE ROLE "Rölle ""q"" 'a' \b" LOGIN PASSWORD 'pässwörd ''"\ 密码';
CREATE ROLE "роль; DROP TABLE x; --" NOLOGIN;
GRANT "роль; DROP TABLE x; --" TO "Rölle ""q"" 'a' \b";
DO $do$ BEGIN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO %I', current_database(), 'Rölle "q" ''a'' \b');
    EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'Kommentar ''q'' "d" \b $$ 注释');
END $do$;

CREATE SCHEMA "Schéma ""q"" 'a' \b 模式" AUTHORIZATION "Rölle ""q"" 'a' \b";
SET ROLE "Rölle ""q"" 'a' \b";
SET search_path = "Schéma ""q"" 'a' \b 模式";

CREATE TYPE "Fárbe ""q"" 'a' \b" AS ENUM ('röt', 'it''s "x" \y', '蓝');
CREATE DOMAIN "Dómäne ""q""" AS text CHECK (VALUE <> 'böse ''q'' \');
CREATE SEQUENCE "Sequénz ""q"" 'a' \b" INCREMENT BY 7;
CREATE TABLE "Tábelle ""q"" 'a' \b 表" (
    "Schlüssel ""q"" 'a' \b" bigint DEFAULT nextval('"Sequénz ""q"" ''a'' \b"') PRIMARY KEY,
    "Fárbe"                  "Fárbe ""q"" 'a' \b" DEFAULT 'it''s "x" \y',
    "Wért ""q"""             "Dómäne ""q""",
    "列"                     jsonb
);
CREATE TABLE "ohne Schlüssel ""q"" 'a' \b" ("Spälte ""q"" 'a' \b" text, "%s {} :1 $1 ?" integer);
CREATE TABLE "geteilt ""q""" ("schlüssel ""k""" integer NOT NULL, "wért" text) PARTITION BY LIST ("schlüssel ""k""");
CREATE TABLE "Teil ""1"" 'a' \b" PARTITION OF "geteilt ""q""" FOR VALUES IN (0, 1, 2);
CREATE TABLE "Teil ""2"" é" PARTITION OF "geteilt ""q""" DEFAULT;
CREATE INDEX "Índex ""q"" 'a' \b" ON "Tábelle ""q"" 'a' \b 表" ("Fárbe", "Wért ""q""") WHERE "Wért ""q""" <> 'x''y"\';
ALTER TABLE "ohne Schlüssel ""q"" 'a' \b" ADD CONSTRAINT "Prüfung ""q"" 'a' \b" CHECK ("%s {} :1 $1 ?" > -1000);
CREATE VIEW "Sícht ""q"" 'a' \b" AS SELECT "列" AS "Spälte ""q"" 'a' \b" FROM "Tábelle ""q"" 'a' \b 表";
CREATE FUNCTION "Funktión ""q"" 'a' \b"("Argumént ""q""" text DEFAULT 'it''s \') RETURNS text LANGUAGE sql
    AS $f$ SELECT $1 || 'ü ''q'' \' $f$;
CREATE FUNCTION "Auslöser ""q"""() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW."列" := jsonb_build_object('schlüssel "q"', TG_ARGV[0]); RETURN NEW; END $f$;
CREATE TRIGGER "Trígger ""q"" 'a' \b" BEFORE UPDATE ON "Tábelle ""q"" 'a' \b 表" FOR EACH ROW EXECUTE PROCEDURE "Auslöser ""q"""('arg ''q'' \ "d"');
COMMENT ON TABLE "Tábelle ""q"" 'a' \b 表" IS 'Kommentar ''q'' "d" \b';
COMMENT ON COLUMN "Tábelle ""q"" 'a' \b 表"."列" IS E'Zeile\nzwei\ttab \\';
GRANT SELECT ON "Tábelle ""q"" 'a' \b 表" TO "роль; DROP TABLE x; --";

INSERT INTO "Tábelle ""q"" 'a' \b 表" ("Fárbe", "Wért ""q""", "列")
SELECT (ARRAY['röt', 'it''s "x" \y', '蓝'])[1 + i % 3]::"Fárbe ""q"" 'a' \b", E'\\.\t\n\r\\N ' || i, '{"ключ": "\\"}' FROM generate_series(1, 2000) i;
INSERT INTO "ohne Schlüssel ""q"" 'a' \b" SELECT CASE WHEN i % 5 > 0 THEN E'\\N \b ' || i % 50 END, i FROM generate_series(1, 1000) i;
INSERT INTO "geteilt ""q""" SELECT i % 6, 'wért ' || i FROM generate_series(1, 1000) i;
RESET ROLE;
RESET search_path;
