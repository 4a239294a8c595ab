//! What logical replication does not carry comes over all the same: unlogged tables and large objects, exact at the cutover.

use std::time::Duration;

use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::extension::{self, ExtensionFiles};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare};

const DATABASE: &str = "small";

/// Unlogged tables: with a key, with a foreign key between two of them and one to a logged table, a leaf partition, one without
/// columns, one with a generated identity.
const UNLOGGED: &str = "
    CREATE ROLE cache_owner; GRANT USAGE ON SCHEMA app TO cache_owner;
    CREATE UNLOGGED TABLE app.sessions (id bigint PRIMARY KEY, token text NOT NULL, seen timestamptz DEFAULT now());
    CREATE UNLOGGED TABLE app.hits (session bigint REFERENCES app.sessions ON DELETE CASCADE, person integer REFERENCES app.people ON DELETE CASCADE, n integer);
    CREATE UNLOGGED TABLE app.\"we ird\" (a integer GENERATED ALWAYS AS IDENTITY, \"b c\" text);
    CREATE UNLOGGED TABLE app.empty ();
    CREATE UNLOGGED TABLE app.readings_3 PARTITION OF app.readings FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
    ALTER TABLE app.sessions OWNER TO cache_owner;
    INSERT INTO app.sessions SELECT i, md5(i::text) FROM generate_series(1, 5000) i;
    INSERT INTO app.hits SELECT 1 + i % 5000, 1 + i % 2000, i FROM generate_series(1, 5000) i;
    INSERT INTO app.\"we ird\" (\"b c\") SELECT E'\\\\.' || i FROM generate_series(1, 100) i;
    INSERT INTO app.readings SELECT '2026-03-01'::date + i % 30, i, i FROM generate_series(1, 300) i;";

/// Large objects of all shapes: empty, small, of several pages, with holes, cut off at a page's edge, of others, described.
const OBJECTS: &str = "
    CREATE ROLE lob_owner; CREATE ROLE lob_reader;
    SELECT lo_from_bytea(600000 + i, convert_to(repeat(md5(i::text), i % 300), 'UTF8')) FROM generate_series(1, 400) i;
    SELECT lo_create(610001), lo_create(610002), lo_create(610003), lo_create(610004);
    SELECT lo_put(610001, 1000000, 'after a hole');
    SELECT lo_truncate64(lo_open(610002, 131072), 4096);
    SELECT lo_put(610003, 0, decode(repeat('00ff5c2e0a', 200000), 'hex'));
    ALTER LARGE OBJECT 600007 OWNER TO lob_owner;
    GRANT SELECT ON LARGE OBJECT 600007 TO lob_reader; GRANT UPDATE ON LARGE OBJECT 600008 TO PUBLIC;
    COMMENT ON LARGE OBJECT 600009 IS 'it''s described';";

/// The rows of the unlogged tables as the server counts and hashes them.
async fn unlogged(cluster: &Cluster) -> Result<Vec<Vec<String>>> {
    let mut all = Vec::new();
    for table in ["app.sessions", "app.hits", "app.\"we ird\"", "app.empty", "app.readings_3"] {
        let sql = format!(
            "SET timezone = 'UTC'; SELECT '{table}', count(*), coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint), 0) FROM {table} t"
        );
        all.extend(cluster.rows(DATABASE, &sql).await?);
    }
    Ok(all)
}

/// Every large object: number, owner, privileges, comment, size and hash of what reading it gives.
async fn objects(cluster: &Cluster) -> Result<Vec<Vec<String>>> {
    let sql = "SELECT m.oid, pg_get_userbyid(m.lomowner), coalesce(m.lomacl, acldefault('L', m.lomowner)), obj_description(m.oid, 'pg_largeobject'),
                      octet_length(lo_get(m.oid)), md5(lo_get(m.oid))
               FROM pg_largeobject_metadata m ORDER BY m.oid";
    cluster.rows(DATABASE, sql).await
}

async fn assert_alike(pair: &Pair) -> Result<()> {
    let (ours, theirs) = (unlogged(&pair.source).await?, unlogged(&pair.destination).await?);
    assert_eq!(ours, theirs, "unlogged tables");
    assert!(ours.iter().any(|table| table[1] != "0"), "there are rows to compare");
    assert_objects_alike(pair).await
}

async fn assert_objects_alike(pair: &Pair) -> Result<()> {
    let (ours, theirs) = (objects(&pair.source).await?, objects(&pair.destination).await?);
    if ours == theirs && ours.len() > 100 {
        return Ok(());
    }
    let only = |a: &Vec<Vec<String>>, b: &Vec<Vec<String>>| -> Vec<Vec<String>> {
        a.iter().filter(|o| !b.contains(o)).take(5).cloned().collect()
    };
    Err(Error::Broken(format!(
        "{} large objects; on the source {:?}, on the destination {:?}",
        ours.len(),
        only(&ours, &theirs),
        only(&theirs, &ours)
    )))
}

/// Everything that may happen to them while the stream runs.
const CHANGES: &str = "
    DELETE FROM app.sessions WHERE id % 3 = 0; UPDATE app.sessions SET token = 'new' WHERE id % 5 = 0;
    INSERT INTO app.sessions SELECT i, 'late' FROM generate_series(10001, 10500) i;
    INSERT INTO app.\"we ird\" (\"b c\") VALUES ('late');
    DELETE FROM app.people WHERE id < 50;
    SELECT lo_put(600011, 3, 'changed in place'), lo_put(600012, 100000, 'longer');
    SELECT lo_truncate64(lo_open(600299, 131072), 10), lo_truncate64(lo_open(600298, 131072), 2048);
    SELECT lo_truncate64(lo_open(610003, 131072), 5000), lo_put(610003, 900000, 'beyond the cut');
    SELECT lo_unlink(600013), lo_unlink(600014), lo_create(600014);
    SELECT lo_from_bytea(700001, 'new one'), lo_create(700002);
    ALTER LARGE OBJECT 600015 OWNER TO lob_owner; ALTER LARGE OBJECT 700001 OWNER TO lob_owner;
    REVOKE SELECT ON LARGE OBJECT 600007 FROM lob_reader; GRANT UPDATE ON LARGE OBJECT 600007 TO lob_reader WITH GRANT OPTION;
    GRANT SELECT ON LARGE OBJECT 700002 TO lob_reader;
    COMMENT ON LARGE OBJECT 600009 IS NULL; COMMENT ON LARGE OBJECT 600016 IS 'said later';";

async fn loaded(major: u32) -> Result<Pair> {
    let pair = Pair::start(major).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    pair.source.run(DATABASE, UNLOGGED).await?;
    pair.source.run(DATABASE, OBJECTS).await?;
    Ok(pair)
}

async fn comes_over(major: u32) -> Result<()> {
    let pair = loaded(major).await?;
    let writers = SMALL.write(&pair.source, DATABASE, 3, Duration::from_millis(10)).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // The first copy is there before anybody asks for a cutover (people who are deleted meanwhile take hits with them), and its price is told.
    assert_objects_alike(&pair).await?;
    assert_eq!(pair.destination.value(DATABASE, "SELECT count(*) FROM app.sessions").await?, "5000");
    let told = "SELECT detail FROM migrator.cutover_checks WHERE name = 'carried_beside'";
    let told = pair.destination.value("migrator", told).await?;
    assert!(told.contains("5 tables (") && told.contains("404 large objects") && told.contains("longer by about"), "{told}");
    let steps = pair.destination.column("migrator", &format!("SELECT * FROM migrator.cutover_instructions('{MAPPING}')")).await?;
    assert!(steps.iter().any(|step| step.contains("404 large objects")), "{steps:?}");

    pair.source.run(DATABASE, CHANGES).await?;
    controller.must(&["cutover", MAPPING]).await?;
    writers.stop().await?;
    assert_alike(&pair).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await?;
    let report = pair.destination.value("migrator", "SELECT report FROM migrator.requests WHERE kind = 'cutover'").await?;
    assert!(report.contains("app.sessions"), "{report}");
    // What was copied with triggers and keys off is as if it had been written with them on.
    let invalid = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated";
    assert_eq!(pair.destination.value(DATABASE, invalid).await?, "0");
    let orphans = "SELECT count(*) FROM app.hits h LEFT JOIN app.sessions s ON s.id = h.session WHERE s.id IS NULL AND h.session IS NOT NULL";
    assert_eq!(pair.destination.value(DATABASE, orphans).await?, "0");
    controller.must(&["complete", MAPPING]).await.map(drop)
}

#[tokio::test]
async fn unlogged_tables_and_large_objects_come_over_from_10_and_are_exact_after_the_cutover() -> Result<()> {
    comes_over(10).await
}

#[tokio::test]
async fn unlogged_tables_and_large_objects_come_over_from_15_and_are_exact_after_the_cutover() -> Result<()> {
    comes_over(15).await
}

#[tokio::test]
async fn a_cutover_undone_while_it_copies_them_again_leaves_the_source_as_it_was_and_can_be_asked_for_again() -> Result<()> {
    let pair = loaded(15).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.source.run(DATABASE, CHANGES).await?;

    // Somebody reads the table on the destination and keeps its lock: the copy waits until the time is over.
    let reader = pair.destination.connect(DATABASE).await?;
    let seen = "BEGIN; SELECT count(*) FROM app.hits";
    reader.batch_execute(seen).await.expect("it reads");
    let answer = controller.ask(&["cutover", MAPPING, "--timeout", "3"]).await?;
    assert_eq!(answer.code, 1, "{}{}", answer.stdout, answer.stderr);
    assert!(answer.stdout.contains("time limit") && answer.stdout.contains("stream does not carry"), "{}", answer.stdout);
    reader.batch_execute("COMMIT").await.expect("it lets go");
    pair.source
        .run(DATABASE, "INSERT INTO app.sessions VALUES (-1, 'after the undone cutover'); SELECT lo_put(600020, 0, 'too')")
        .await?;

    // A row that the destination refuses: the cutover says which table, and is undone.
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.destination.run(DATABASE, "ALTER TABLE app.sessions ADD CONSTRAINT positive CHECK (id > 0) NOT VALID").await?;
    let answer = controller.ask(&["cutover", MAPPING]).await?;
    assert_eq!(answer.code, 1, "{}{}", answer.stdout, answer.stderr);
    assert!(answer.stdout.contains("app.sessions") && answer.stdout.contains("positive"), "{}", answer.stdout);
    pair.source.run(DATABASE, "INSERT INTO app.sessions VALUES (-2, 'after that one')").await?;
    pair.destination.run(DATABASE, "ALTER TABLE app.sessions DROP CONSTRAINT positive").await?;

    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    assert_alike(&pair).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await.map(drop)
}

#[tokio::test]
async fn a_switch_by_hand_copies_them_a_last_time_unless_the_destination_is_in_use() -> Result<()> {
    let pair = loaded(16).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.source.run(DATABASE, CHANGES).await?;

    // Somebody was too early on the destination: what they wrote is not thrown away without being asked.
    pair.destination.run(DATABASE, "INSERT INTO app.sessions VALUES (-9, 'written on the destination')").await?;
    let refused = controller.ask(&["complete", MAPPING]).await?;
    assert_eq!(refused.code, 1, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stdout.contains("app.sessions") && refused.stdout.contains("keep_destination"), "{}", refused.stdout);
    assert_eq!(pair.destination.value(DATABASE, "SELECT count(*) FROM app.sessions WHERE id = -9").await?, "1");

    // Told that the source's rows are to come, all is as it should be.
    controller.must(&["resync", MAPPING, "small.app.sessions"]).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.source.run(DATABASE, "INSERT INTO app.sessions VALUES (-3, 'the last one'); SELECT lo_put(600021, 1, 'last')").await?;
    controller.must(&["complete", MAPPING]).await?;
    assert_alike(&pair).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await.map(drop)
}

#[tokio::test]
async fn a_switch_by_hand_leaves_what_is_in_use_on_the_destination_when_told_so_and_brings_the_rest() -> Result<()> {
    let pair = loaded(13).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.source.run(DATABASE, CHANGES).await?;
    pair.destination.run(DATABASE, "INSERT INTO app.sessions VALUES (-9, 'written on the destination')").await?;
    let before = pair.destination.value(DATABASE, "SELECT count(*) FROM app.sessions").await?;
    let ask = format!("SELECT migrator.request('{MAPPING}', 'complete', '{{\"keep_destination\": true}}')");
    pair.destination.run("migrator", &ask).await?;
    let answered = "(SELECT succeeded FROM migrator.requests WHERE kind = 'complete')";
    controller.wait_for(&pair.destination, answered, READY_LIMIT).await?;

    assert_eq!(pair.destination.value(DATABASE, "SELECT count(*) FROM app.sessions").await?, before);
    assert_eq!(
        pair.destination.value(DATABASE, "SELECT token FROM app.sessions WHERE id = -9").await?,
        "written on the destination"
    );
    let (ours, theirs) = (unlogged(&pair.source).await?, unlogged(&pair.destination).await?);
    for (ours, theirs) in ours.iter().zip(&theirs).filter(|(table, _)| table[0] != "app.sessions") {
        assert_eq!(ours, theirs, "what nobody has written to is brought over");
    }
    assert_objects_alike(&pair).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await?;
    let left = "SELECT message FROM migrator.events WHERE message LIKE 'left as it is%'";
    assert_eq!(pair.destination.value("migrator", left).await?, "left as it is on the destination: app.sessions");
    Ok(())
}

/// 100 MB in unlogged tables, and a thousand large objects.
const MUCH: &str = "
    DO $$ BEGIN
      FOR t IN 1..4 LOOP
        EXECUTE format('CREATE UNLOGGED TABLE app.much_%s (id integer PRIMARY KEY, t text)', t);
        EXECUTE format('INSERT INTO app.much_%s SELECT i, repeat(md5(i::text), 31) FROM generate_series(1, 25000) i', t);
      END LOOP;
    END $$;
    SELECT lo_from_bytea(0, decode(repeat(md5(i::text), 512), 'hex')) FROM generate_series(1, 1000) i;";

#[tokio::test]
async fn the_length_of_the_block_for_100_mb_and_1000_large_objects_is_told_beforehand() -> Result<()> {
    let pair = Pair::start(16).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    pair.source.run(DATABASE, MUCH).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let told =
        "SELECT substring(detail from 'longer by about ([0-9.]+) s') FROM migrator.cutover_checks WHERE name = 'carried_beside'";
    let told = seconds(&pair.destination.value("migrator", told).await?)?;
    pair.source.run(DATABASE, "UPDATE app.much_1 SET t = 'new' WHERE id % 10 = 0").await?;
    controller.must(&["cutover", MAPPING]).await?;
    let report = "SELECT (report -> 'databases' -> 0 -> 'beside' ->> 'seconds') FROM migrator.requests WHERE kind = 'cutover'";
    let took = seconds(&pair.destination.value("migrator", report).await?)?;
    println!("told {told} s, took {took} s");
    // Within a factor, but for what a tenth of a second more or less makes of so little.
    assert!(took < 4.0 * told + 0.5 && told < 4.0 * took + 0.5, "told {told} s, took {took} s");
    for table in 1..=4 {
        let rows = format!("SELECT count(*), md5(string_agg(t, '' ORDER BY id)) FROM app.much_{table}");
        assert_eq!(pair.source.rows(DATABASE, &rows).await?, pair.destination.rows(DATABASE, &rows).await?);
    }
    assert_objects_alike(&pair).await
}

fn seconds(text: &str) -> Result<f64> {
    text.parse().map_err(|_| Error::Broken(format!("{text:?} is not a number of seconds")))
}

/// What the extension's script makes; the destination's version has a column more, and another default.
const RATES: &str = "
    CREATE TABLE public.rate (name text PRIMARY KEY, value numeric, own boolean NOT NULL DEFAULT false);
    CREATE TABLE public.rate_log (id bigserial PRIMARY KEY, what text);
    INSERT INTO public.rate VALUES ('built in', 1, true), ('also built in', 2, true);";
const NEWER: &str = "
    ALTER TABLE public.rate ADD COLUMN unit text DEFAULT 'EUR';
    UPDATE public.rate SET value = 3 WHERE name = 'built in';
    SELECT pg_catalog.pg_extension_config_dump('public.rate', 'WHERE NOT own');
    SELECT pg_catalog.pg_extension_config_dump('public.rate_log', '');
    SELECT pg_catalog.pg_extension_config_dump('public.rate_log_id_seq', '');";
const CONFIGURATION: [(&str, &str); 3] =
    [("public.rate", "WHERE NOT own"), ("public.rate_log", ""), ("public.rate_log_id_seq", "")];

#[tokio::test]
async fn the_rows_that_users_keep_in_an_extensions_tables_come_over_and_its_own_stay() -> Result<()> {
    let files = ExtensionFiles::write("rates", &format!("{RATES}{NEWER}"))?;
    let (source, destination) = tokio::try_join!(Cluster::start(14), files.known_to(Cluster::of(18)).start())?;
    let pair = Pair { source, destination };
    SMALL.load(&pair.source, DATABASE, 1).await?;
    pair.source.run(DATABASE, RATES).await?;
    extension::without_files(&pair.source, DATABASE, "rates", &CONFIGURATION).await?;
    pair.source
        .run(
            DATABASE,
            "INSERT INTO rate VALUES ('user''s', 7); INSERT INTO rate_log (what) SELECT 'w' || i FROM generate_series(1, 50) i",
        )
        .await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let logged = "SELECT count(*) FROM public.rate_log";
    assert_eq!(pair.destination.value(DATABASE, logged).await?, "50");

    pair.source
        .run(
            DATABASE,
            "UPDATE rate SET value = 8 WHERE NOT own; INSERT INTO rate VALUES ('late', 9); UPDATE rate SET value = 100 WHERE own;
             DELETE FROM rate_log WHERE id < 10; INSERT INTO rate_log (what) VALUES ('last')",
        )
        .await?;
    controller.must(&["cutover", MAPPING]).await?;
    let rates =
        pair.destination.rows(DATABASE, "SELECT name, value, own, unit FROM rate ORDER BY name::text COLLATE \"C\"").await?;
    let expected = [
        ["also built in", "2", "t", "EUR"],
        ["built in", "3", "t", "EUR"],
        ["late", "9", "f", "EUR"],
        ["user's", "8", "f", "EUR"],
    ];
    assert_eq!(rates, expected);
    let log = "SELECT id, what FROM rate_log ORDER BY id";
    assert_eq!(pair.source.rows(DATABASE, log).await?, pair.destination.rows(DATABASE, log).await?);
    let next = pair.destination.value(DATABASE, "INSERT INTO rate_log (what) VALUES ('after') RETURNING id").await?;
    assert_eq!(next, "52");
    Ok(())
}

#[tokio::test]
async fn materialized_views_are_as_of_the_cutover_also_one_that_reads_another() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    // By name the one that reads comes first.
    pair.source
        .run(
            DATABASE,
            "CREATE MATERIALIZED VIEW app.z_codes AS SELECT code FROM app.codes;
             CREATE MATERIALIZED VIEW app.a_count AS SELECT count(*) AS codes FROM app.z_codes;
             CREATE MATERIALIZED VIEW app.never AS SELECT 1 AS one WITH NO DATA",
        )
        .await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let count = "SELECT codes FROM app.a_count";
    assert_eq!(pair.destination.value(DATABASE, count).await?, "500");
    pair.source.run(DATABASE, "INSERT INTO app.codes SELECT 'late ' || i FROM generate_series(1, 7) i").await?;
    drained(&pair.source).await?;
    controller.must(&["cutover", MAPPING]).await?;
    assert_eq!(pair.destination.value(DATABASE, count).await?, "507");
    let filled = "SELECT relispopulated FROM pg_class WHERE relname = 'never'";
    assert_eq!(pair.destination.value(DATABASE, filled).await?, "f", "what is not filled on the source is not");
    Ok(())
}
