-- Whether there are publications of the names $1 and $2 in the connected database, and a slot of the name $3 on the server.
SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1) AS publication,
       EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $2) AS inserts,
       EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $3) AS slot
