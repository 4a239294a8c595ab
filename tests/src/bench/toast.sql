CREATE TABLE pages (id bigint PRIMARY KEY, url text NOT NULL UNIQUE, body text NOT NULL);

INSERT INTO pages SELECT i, 'https://example.org/' || md5(i::text), (SELECT string_agg(md5((i * 1000 + j)::text) || ' lorem ipsum dolor sit amet, consectetur adipiscing elit ', '') FROM generate_series(1, 250) j) FROM generate_series(1, 8000 * :scale) i
