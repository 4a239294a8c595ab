-- Whether a name in this database is a keyword of version 18 that this server, which does not know it, would leave unquoted in definitions.
-- words.rs has the list. The reserved one may stand nowhere without quotes; the others not as the name of an argument or of a type's schema.
WITH fresh AS (
    -- Quoted by this server too: it knows the keyword.
    SELECT w.name, w.reserved FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::boolean[])) AS w(name, reserved)
    WHERE pg_catalog.quote_ident(w.name) = w.name
), reserved AS (
    SELECT name FROM fresh WHERE reserved
)
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n JOIN fresh w ON w.name = n.nspname)
    OR EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN fresh w ON w.name = ANY (p.proargnames) OR (w.reserved AND w.name = p.proname)
               WHERE p.oid >= 16384
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 1255 AND d.objid = p.oid AND d.deptype = 'e'))
    OR EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN reserved w ON w.name = a.attname
               WHERE a.attrelid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped)
    OR EXISTS (SELECT FROM pg_catalog.pg_class c JOIN reserved w ON w.name = c.relname)
    OR EXISTS (SELECT FROM pg_catalog.pg_type t JOIN reserved w ON w.name = t.typname)
    OR EXISTS (SELECT FROM pg_catalog.pg_constraint c JOIN reserved w ON w.name = c.conname)
    OR EXISTS (SELECT FROM pg_catalog.pg_trigger t JOIN reserved w ON w.name IN (t.tgname, t.tgoldtable, t.tgnewtable))
    OR EXISTS (SELECT FROM pg_catalog.pg_collation c JOIN reserved w ON w.name = c.collname)
    OR EXISTS (SELECT FROM pg_catalog.pg_opclass o JOIN reserved w ON w.name = o.opcname)
    -- Aliases, which no other catalog has: the text of a tree has them as they are.
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r JOIN reserved w ON pg_catalog.strpos(r.ev_action::text, w.name) > 0
               WHERE r.oid >= 16384 OR w.name = r.rulename)
    OR EXISTS (SELECT FROM pg_catalog.pg_policy p JOIN reserved w
                 ON pg_catalog.strpos(coalesce(p.polqual::text, '') || coalesce(p.polwithcheck::text, ''), w.name) > 0)
    OR EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN reserved w ON pg_catalog.strpos(p.prosqlbody::text, w.name) > 0) -- since 14
    AS needs_quotes
