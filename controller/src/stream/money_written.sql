-- Amounts ($1) as a session writes them that sets nothing: settings of server, database and role hold.
WITH unset AS (
    SELECT pg_catalog.set_config('lc_monetary', p.reset_val, true) AS lc_monetary FROM pg_catalog.pg_settings p WHERE p.name = 'lc_monetary'
)
SELECT unset.lc_monetary,
       pg_catalog.array_agg(CASE WHEN unset.lc_monetary IS NOT NULL THEN s.amount::text END ORDER BY s.number) AS texts
FROM unset CROSS JOIN pg_catalog.unnest($1::money[]) WITH ORDINALITY AS s(amount, number)
GROUP BY 1
