-- What the creation of a slot on this source would wait for: prepared transactions, and open ones that have run for ten seconds.
SELECT 'prepared' AS kind,
       pg_catalog.format('prepared transaction %L in database %I', p.gid, p.database) AS object,
       pg_catalog.format('prepared by %I %s ago', p.owner, pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - p.prepared)) AS what,
       pg_catalog.format('in database %I of the source: COMMIT PREPARED %L; or ROLLBACK PREPARED %L;', p.database, p.gid, p.gid) AS fix
FROM pg_catalog.pg_prepared_xacts p
UNION ALL
SELECT 'open',
       pg_catalog.format('session with pid %s in database %I', a.pid, a.datname),
       pg_catalog.format('a transaction of %I (%s, %s) open for %s, whose query is %s', a.usename,
                         COALESCE(NULLIF(a.application_name, ''), 'no application name'), a.state,
                         pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - a.xact_start),
                         pg_catalog.left(pg_catalog.regexp_replace(a.query, '\s+', ' ', 'g'), 80)),
       pg_catalog.format('let it end; or on the source: SELECT pg_terminate_backend(%s);', a.pid)
FROM pg_catalog.pg_stat_activity a
WHERE a.backend_type = 'client backend'
  AND a.backend_xid IS NOT NULL
  AND a.xact_start < pg_catalog.clock_timestamp() - interval '10 seconds'
  AND a.pid <> pg_catalog.pg_backend_pid()
ORDER BY 1 DESC, 2
