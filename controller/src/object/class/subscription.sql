-- Subscriptions of this database. Only superusers see the connection string.
SELECT s.subname::text AS name, pg_catalog.pg_get_userbyid(s.subowner)::text AS owner, s.subenabled AS enabled,
       s.subslotname::text AS slot, s.subpublications::text[] AS publications,
       s.oid AS oid, s.subconninfo AS conninfo, -- for superusers
       -- for others: 0::oid AS oid, NULL::text AS conninfo,
       pg_catalog.concat_ws(', ', NULL,
           CASE WHEN s.subbinary THEN 'binary = true' END, -- since 14
           -- before 14: 'streaming = off',
           -- 14 to 15: CASE WHEN s.substream THEN 'streaming = on' ELSE 'streaming = off' END,
           CASE s.substream WHEN 't' THEN 'streaming = on' WHEN 'p' THEN 'streaming = parallel' WHEN 'f' THEN 'streaming = off' END, -- since 16
           CASE WHEN s.subtwophasestate <> 'd' THEN 'two_phase = true' END, -- since 15
           CASE WHEN s.subdisableonerr THEN 'disable_on_error = true' END, -- since 15
           CASE WHEN NOT s.subpasswordrequired THEN 'password_required = false' END, -- since 16
           CASE WHEN s.subrunasowner THEN 'run_as_owner = true' END, -- since 16
           -- before 16: 'run_as_owner = true',
           CASE WHEN s.suborigin <> 'any' THEN pg_catalog.format('origin = %I', s.suborigin) END, -- since 16
           CASE WHEN s.subfailover THEN 'failover = true' END, -- since 17
           CASE WHEN s.subsynccommit <> 'off' THEN pg_catalog.format('synchronous_commit = %L', s.subsynccommit) END -- for superusers
           -- for others: NULL
       ) AS options
FROM pg_catalog.pg_subscription s
JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
WHERE d.datname = pg_catalog.current_database()
