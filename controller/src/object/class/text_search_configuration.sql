-- Text search configurations, with the dictionaries of each kind of token.
SELECT c.oid, n.nspname::text AS schema, c.cfgname::text AS name, pg_catalog.pg_get_userbyid(c.cfgowner)::text AS owner,
       pn.nspname::text AS parser_schema, p.prsname::text AS parser_name,
       ARRAY(SELECT pg_catalog.format('%I WITH %s', token.alias,
                        pg_catalog.string_agg(pg_catalog.format('%I.%I', dn.nspname, d.dictname), ', ' ORDER BY m.mapseqno))
             FROM pg_catalog.pg_ts_config_map m
             JOIN pg_catalog.ts_token_type(c.cfgparser) token ON token.tokid = m.maptokentype
             JOIN pg_catalog.pg_ts_dict d ON d.oid = m.mapdict
             JOIN pg_catalog.pg_namespace dn ON dn.oid = d.dictnamespace
             WHERE m.mapcfg = c.oid
             GROUP BY token.tokid, token.alias ORDER BY token.tokid) AS mappings
FROM pg_catalog.pg_ts_config c
JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace
JOIN pg_catalog.pg_ts_parser p ON p.oid = c.cfgparser
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.prsnamespace
WHERE c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
