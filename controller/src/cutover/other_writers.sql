-- What writes into the connected database without a session that could be ended: prepared transactions, and subscriptions of its own.
SELECT (SELECT string_agg(gid, ', ') FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()) AS prepared,
       (SELECT string_agg(s.subname, ', ') FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() AND s.subenabled) AS subscriptions
