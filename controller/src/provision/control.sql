-- Whether the connected database is a control database, and whether somebody keeps tables in it.
SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'migrator') AS installed,
       EXISTS (SELECT FROM pg_catalog.pg_class
               WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
                 AND relkind IN ('r', 'p', 'v', 'm', 'f') AND relpersistence = 'p'
                 AND relnamespace NOT IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname LIKE 'pg\_%')) AS inhabited
