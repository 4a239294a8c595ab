-- Texts of amounts ($2) as they are read under this lc_monetary ($1), which ends with the statement.
WITH setting AS (
    SELECT pg_catalog.set_config('lc_monetary', $1::text, true) AS lc_monetary
)
SELECT pg_catalog.array_agg(CASE WHEN setting.lc_monetary IS NOT NULL THEN s.amount::money END ORDER BY s.number) AS values
FROM setting CROSS JOIN pg_catalog.unnest($2::text[]) WITH ORDINALITY AS s(amount, number)
