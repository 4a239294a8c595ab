-- By provider: how many security labels the connected database's objects and the database itself have, and the first of them. What initdb made
-- is not carried over; neither is what belongs to the instance, which is looked at with the roles.
SELECT l.provider, count(*) AS total,
       (pg_catalog.array_agg(pg_catalog.concat_ws(' ', l.objtype, l.objname) ORDER BY l.objtype, l.objname))[1:50] AS objects
FROM pg_catalog.pg_seclabels l
LEFT JOIN pg_catalog.pg_shseclabel shared ON shared.classoid = l.classoid AND shared.objoid = l.objoid AND shared.provider = l.provider
JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
WHERE CASE WHEN shared.objoid IS NULL THEN l.objoid >= 16384 OR l.objtype = 'large object' OR (l.objtype = 'schema' AND l.objoid = 2200)
           ELSE (l.objtype = 'database' AND l.objoid = d.oid)
                -- by name: before 12 not every role may read their OIDs
                OR (l.objtype = 'subscription' AND EXISTS (SELECT FROM pg_catalog.pg_subscription s
                                                           WHERE s.subdbid = d.oid AND pg_catalog.quote_ident(s.subname) = l.objname)) END
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = l.classoid AND e.objid = l.objoid AND e.deptype = 'e')
GROUP BY l.provider
ORDER BY l.provider
