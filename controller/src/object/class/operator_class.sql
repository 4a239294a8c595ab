-- Operator classes with their operators and functions.
SELECT c.oid, n.nspname::text AS schema, c.opcname::text AS name, pg_catalog.pg_get_userbyid(c.opcowner)::text AS owner,
       am.amname::text AS access_method, c.opcdefault AS is_default, pg_catalog.format_type(c.opcintype, NULL) AS type,
       CASE WHEN c.opckeytype NOT IN (0, c.opcintype) THEN pg_catalog.format_type(c.opckeytype, NULL) END AS storage,
       fn.nspname::text AS family_schema, f.opfname::text AS family_name, c.opcfamily AS family,
       member.catalogs, member.oids, member.texts
FROM pg_catalog.pg_opclass c
JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace
JOIN pg_catalog.pg_am am ON am.oid = c.opcmethod
JOIN pg_catalog.pg_opfamily f ON f.oid = c.opcfamily
JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace
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
        WHERE d.classid = 2602 AND d.refclassid = 2616 AND d.refobjid = c.oid
        UNION ALL
        SELECT 2603, p.oid, p.amprocnum,
               pg_catalog.format('FUNCTION %s (%s, %s) %s', p.amprocnum, pg_catalog.format_type(p.amproclefttype, NULL),
                                 pg_catalog.format_type(p.amprocrighttype, NULL), p.amproc::oid::regprocedure)
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_amproc p ON p.oid = d.objid
        WHERE d.classid = 2603 AND d.refclassid = 2616 AND d.refobjid = c.oid
    ) m
) member ON true
WHERE c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
