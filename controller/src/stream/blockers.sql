-- The transactions that the making of a slot waits for, in words.
SELECT string_agg(format('pid %s (%s, %s, running for %s): %s', a.pid, a.usename, a.datname,
                         date_trunc('second', clock_timestamp() - a.xact_start), left(a.query, 80)), '; '
                  ORDER BY a.xact_start) AS running,
       (SELECT string_agg(format('prepared transaction %s of %s in %s, prepared %s ago', gid, owner, database,
                                 date_trunc('second', clock_timestamp() - prepared)), '; ' ORDER BY prepared)
        FROM pg_catalog.pg_prepared_xacts) AS prepared
FROM pg_catalog.pg_stat_activity a
WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
