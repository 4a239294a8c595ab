-- Begins the statistics of the connected database's subscriptions of the names $1 anew.
SELECT pg_catalog.pg_stat_reset_subscription_stats(s.oid) FROM pg_catalog.pg_subscription s
JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database() AND s.subname = ANY ($1)
