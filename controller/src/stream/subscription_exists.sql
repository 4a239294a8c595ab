-- Whether the connected database has a subscription of the name $1.
SELECT EXISTS (SELECT FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
               WHERE d.datname = current_database() AND s.subname = $1)
