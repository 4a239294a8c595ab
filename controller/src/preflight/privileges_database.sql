-- What our user lacks in the connected database to publish every table of it.
SELECT current_user::text AS name,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may_create,
       (SELECT pg_catalog.array_agg(pg_catalog.quote_ident(n.nspname) ORDER BY n.nspname)
        FROM pg_catalog.pg_namespace n
        WHERE n.oid >= 16384 AND n.nspname !~ '^pg_' AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')) AS schemas,
       (SELECT pg_catalog.array_agg(c.oid::pg_catalog.regclass::text ORDER BY c.oid::pg_catalog.regclass::text)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
          AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')) AS sequences,
       count(t.relation) AS foreign_tables,
       COALESCE((pg_catalog.array_agg(t.relation ORDER BY t.relation))[1:5], '{}') AS first_tables
FROM (SELECT c.oid::pg_catalog.regclass::text AS relation
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND c.relpersistence = 'p'
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
        AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')) AS t
