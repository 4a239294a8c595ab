-- The connected database's subscription of the name $1, if there is one.
SELECT s.oid, s.subenabled, s.subbinary FROM pg_catalog.pg_subscription s
JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database() AND s.subname = $1
