//! Streams are made with the best that their source's version can do, and never with what would change a value.

use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Pair, Result, compare};

/// Every type whose binary form is the same everywhere, with its extremes.
const SAFE: &str = "
    CREATE TYPE mood AS ENUM ('so', 'la');
    CREATE DOMAIN weight AS numeric CHECK (value > 0);
    CREATE TABLE safe (id bigint PRIMARY KEY, a numeric, b double precision, c timestamptz, d interval, e jsonb, f integer[], g numrange,
                       h mood, i weight, j bytea, k uuid, l inet, m tsvector, n bit varying, o date, p \"char\", q real, r text[]);";

const ROWS: &str = r#"
    INSERT INTO safe SELECT i, i / 7.0, i / 7.0, '2026-01-01 00:00+00'::timestamptz + i * interval '1.5 s', i * interval '1 month -3 hours',
        json_build_object('i', i, 'x', ARRAY[i::text, NULL])::jsonb, ARRAY[i, NULL, -i], numrange(i, NULL, '(]'), 'la', i + 1, decode(md5(i::text), 'hex'),
        md5(i::text)::uuid, '10.0.0.0/8'::inet + i, to_tsvector('simple', 'a b ' || i), i::bit(20)::varbit, 'epoch'::date + i, 'x', i / 3.0, ARRAY['ü', NULL, i::text]
    FROM generate_series(1, 500) i;
    INSERT INTO safe (id, a, b, c, o, q, g, e) VALUES
        (1001, 'NaN', 'Infinity', 'infinity', '-infinity', '-0', 'empty', 'null'),
        (1002, -1e-300, 4.9e-324, '4713-01-01 00:00 BC', '5874897-12-31', 'NaN', '[1.10,1.100]', '"\u00e4"');
    UPDATE safe SET a = a * -3.10, r = NULL WHERE id % 5 = 0;
    DELETE FROM safe WHERE id % 50 = 1"#;

#[tokio::test]
async fn values_travel_in_binary_form_and_arrive_exact_and_what_can_not_is_noticed() -> Result<()> {
    let pair = Pair::start(17).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", "CREATE DATABASE typed").await?;
    source.run("postgres", "CREATE DATABASE careful").await?;
    source.run("typed", SAFE).await?;
    source.run("typed", "CREATE TABLE changed (id integer PRIMARY KEY); INSERT INTO changed VALUES (1)").await?;
    source
        .run("careful", "CREATE TABLE made (id integer PRIMARY KEY, what regclass); INSERT INTO made VALUES (1, 'made')")
        .await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    let options = "SELECT d.datname, subbinary, substream, subtwophasestate, suborigin, subfailover, subrunasowner
                   FROM pg_subscription JOIN pg_database d ON d.oid = subdbid ORDER BY 1";
    let expected = [["careful", "f", "p", "d", "any", "t", "f"], ["typed", "t", "p", "d", "any", "t", "f"]];
    assert_eq!(destination.rows("postgres", options).await?, expected);
    let slots = "SELECT bool_and(failover AND NOT two_phase), count(*) FROM pg_replication_slots";
    assert_eq!(source.rows("postgres", slots).await?[0], ["t", "2"]);

    source.run("typed", ROWS).await?;
    // The type's name must arrive, not the number it has on the source.
    source.run("careful", "INSERT INTO made VALUES (2, 'made')").await?;
    // Prepared transactions come when they are committed.
    source.run("typed", "BEGIN; INSERT INTO safe (id, a) VALUES (2001, 1); PREPARE TRANSACTION 'two phases'").await?;
    source.run("typed", "INSERT INTO safe (id, a) VALUES (2002, 2)").await?;
    drained(source).await?;
    assert_eq!(destination.value("typed", "SELECT count(*) FROM safe WHERE id IN (2001, 2002)").await?, "1");
    source.run("typed", "COMMIT PREPARED 'two phases'").await?;
    drained(source).await?;
    for database in ["typed", "careful"] {
        compare::equal(source, destination, database).await?;
    }

    // A column of a type whose binary form would be wrong, made on both sides while the stream runs.
    for cluster in [destination, source] {
        cluster.run("typed", "ALTER TABLE changed ADD COLUMN what regclass").await?;
    }
    source.run("typed", "INSERT INTO changed VALUES (2, 'safe')").await?;
    let told = "EXISTS (SELECT FROM migrator.findings WHERE resolved_at IS NULL AND code = 'apply_conflict' AND object = 'public.changed'
                        AND reason LIKE '%what regclass%')";
    controller.wait_for(destination, told, READY_LIMIT).await?;
    controller.must(&["resync", MAPPING, "typed.public.changed"]).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    source.run("typed", "INSERT INTO changed VALUES (3, 'changed')").await?;
    drained(source).await?;
    compare::equal(source, destination, "typed").await?;
    assert_eq!(destination.value("typed", "SELECT string_agg(what::text, ' ' ORDER BY id) FROM changed").await?, "safe changed");
    assert_eq!(destination.value("postgres", "SELECT bool_or(subbinary) FROM pg_subscription").await?, "f");
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;
    assert_eq!(destination.value(CONTROL, "SELECT DISTINCT status FROM migrator.status()").await?, "complete");
    Ok(())
}
