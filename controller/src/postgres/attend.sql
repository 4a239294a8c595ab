-- Whether the session $1 of the application name $2 waits for its client, and since when it does what it does.
SELECT state LIKE 'idle%' OR wait_event IN ('ClientRead', 'ClientWrite') AS waits,
       pg_catalog.concat_ws(' ', state, wait_event, state_change) AS since
FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND application_name = $2
