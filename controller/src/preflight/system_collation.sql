-- Whether this server's system collations have one of the name $1 that databases with the encoding $2 can use.
SELECT EXISTS (SELECT FROM pg_catalog.pg_collation c
               WHERE c.collnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.collname = $1::text::name
                 AND c.collencoding IN (-1, pg_catalog.pg_char_to_encoding($2::text::name))) AS is_there
