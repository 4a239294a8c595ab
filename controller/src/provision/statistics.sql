-- What the planner knows of the columns of some tables ($1: their schemas, $2: their names). Runs on every version from 10 on.
-- $3: of the tables with their children, or of the tables alone.
-- The histograms of ranges came into the view with 17: where it has no such columns, their names mean the nulls outside.
SELECT w.schema::text AS schema, w.name::text AS name, s.*
FROM unnest($1::name[], $2::name[]) AS w (schema, name)
CROSS JOIN (SELECT NULL::text AS range_length_histogram, NULL::text AS range_empty_frac, NULL::text AS range_bounds_histogram) absent
CROSS JOIN LATERAL (
    SELECT attname::text                AS attname,
           null_frac::text              AS null_frac,
           avg_width::text              AS avg_width,
           n_distinct::text             AS n_distinct,
           most_common_vals::text       AS most_common_vals,
           most_common_freqs::text      AS most_common_freqs,
           histogram_bounds::text       AS histogram_bounds,
           correlation::text            AS correlation,
           most_common_elems::text      AS most_common_elems,
           most_common_elem_freqs::text AS most_common_elem_freqs,
           elem_count_histogram::text   AS elem_count_histogram,
           range_length_histogram::text AS range_length_histogram,
           range_empty_frac::text       AS range_empty_frac,
           range_bounds_histogram::text AS range_bounds_histogram
    FROM pg_catalog.pg_stats
    WHERE schemaname = w.schema AND tablename = w.name AND inherited = $3
    -- Keeps the view from being computed as a whole and joined: it is asked once a table.
    OFFSET 0
) s
ORDER BY 1, 2
