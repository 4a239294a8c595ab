-- Operator families, with what was added to them outside operator classes.
SELECT f.oid, n.nspname::text AS schema, f.opfname::text AS name, pg_catalog.pg_get_userbyid(f.opfowner)::text AS owner,
       am.amname::text AS access_method, member.catalogs, member.oids, member.texts
FROM pg_catalog.pg_opfamily f
JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace
JOIN pg_catalog.pg_am am ON am.oid = f.opfmethod
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(m.catalog ORDER BY m.catalog, m.number, m.text) AS catalogs,
           pg_catalog.array_agg(m.oid ORDER BY m.catalog, m.number, m.text) AS oids,
           pg_catalog.array_agg(m.text ORDER BY m.catalog, m.number, m.text) AS texts
    FROM (
        SELECT 2602::oid AS catalog, o.oid, o.amopstrategy AS number,
               pg_catalog.format('OPERATOR %s %s', o.amopstrategy, o.amopopr::regoperator)
               || coalesce(' FOR ORDER BY ' || pg_catalog.quote_ident(sn.nspname) || '.' || pg_catalog.quote_ident(sf.opfname), '') AS text
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_amop o ON o.oid = d.objid
        LEFT JOIN pg_catalog.pg_opfamily sf ON sf.oid = o.amopsortfamily
        LEFT JOIN pg_catalog.pg_namespace sn ON sn.oid = sf.opfnamespace
        WHERE d.classid = 2602 AND d.refclassid = 2753 AND d.refobjid = f.oid AND o.amopfamily = f.oid
        UNION ALL
        SELECT 2603, p.oid, p.amprocnum,
               pg_catalog.format('FUNCTION %s (%s, %s) %s', p.amprocnum, pg_catalog.format_type(p.amproclefttype, NULL),
                                 pg_catalog.format_type(p.amprocrighttype, NULL), p.amproc::oid::regprocedure)
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_amproc p ON p.oid = d.objid
        WHERE d.classid = 2603 AND d.refclassid = 2753 AND d.refobjid = f.oid
    ) m
) member ON true
WHERE f.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
