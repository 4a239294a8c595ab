-- What the planner knows of a table's columns ($1: schema, $2: name). Runs on every version from 10 on. $3: of the table with its
-- children, or of the table alone.
-- The histograms of ranges came into the view with 17: where it has no such columns, their names mean the nulls outside.
SELECT s.*
FROM (SELECT NULL::text AS range_length_histogram, NULL::text AS range_empty_frac, NULL::text AS range_bounds_histogram) absent
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
    WHERE schemaname = $1 AND tablename = $2 AND inherited = $3
) s
