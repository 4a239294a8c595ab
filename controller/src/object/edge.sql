-- Dependencies among objects made after initdb (OIDs from 16384). The members of extensions that initdb installs
-- (plpgsql) are below that, and so is everything that every database has.
SELECT DISTINCT
    classid     AS from_catalog,
    objid       AS from_oid,
    refclassid  AS to_catalog,
    refobjid    AS to_oid,
    deptype::text AS kind
FROM pg_catalog.pg_depend
WHERE deptype <> 'p'
  AND objid >= 16384
  AND refobjid >= 16384
  AND (classid, objid) <> (refclassid, refobjid)
  -- TOAST tables and their indexes come with their tables.
  AND NOT (deptype = 'i' AND classid = 1259 AND refclassid = 1259
           AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = objid AND c.relkind = 't'))
