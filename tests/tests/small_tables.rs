//! Small tables share a transaction, and each stands for itself all the same.

use std::time::Duration;

use pg_migrator_tests::{Controller, Error, Pair, Result, compare};

/// Forty tables, one whose rows its own check refuses on the destination, and one whose owner may not write to it; one whose rows are
/// refused by code that tells them.
const TABLES: &str = "
    DO $$ BEGIN
      FOR i IN 1..40 LOOP
        EXECUTE format('CREATE TABLE small_%s (id int PRIMARY KEY, t text)', i);
        EXECUTE format('INSERT INTO small_%s SELECT g, repeat(md5(g::text), 3) FROM generate_series(1, %s) g', i, i * 7);
      END LOOP;
    END $$;
    CREATE FUNCTION public.not_here() RETURNS boolean LANGUAGE sql AS
      $$ SELECT pg_catalog.current_setting('server_version_num')::int < 180000 $$;
    CREATE TABLE refused (id int PRIMARY KEY, password text, CONSTRAINT no_secrets CHECK (public.not_here()));
    INSERT INTO refused VALUES (1, 'hunter2'), (2, 'hunter2');
    CREATE FUNCTION public.tells(t text) RETURNS boolean LANGUAGE plpgsql AS
      $$ BEGIN IF NOT public.not_here() THEN RAISE 'not this one: %', t; END IF; RETURN true; END $$;
    CREATE TABLE telling (id int PRIMARY KEY, password text CHECK (public.tells(password)));
    CREATE TABLE closed (id int PRIMARY KEY);
    INSERT INTO telling VALUES (1, 'hunter2');
    INSERT INTO closed VALUES (1);
    CREATE ROLE keeper;
    ALTER TABLE closed OWNER TO keeper;
    REVOKE INSERT ON closed FROM keeper";

#[tokio::test]
async fn one_that_fails_is_named_and_the_others_are_attached() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE small").await?;
    pair.source.run("small", TABLES).await?;
    let mut controller = Controller::started(&pair.config())?;
    let told = "(SELECT string_agg(object, ' ' ORDER BY object) = 'public.refused public.telling' FROM migrator.findings
                WHERE code = 'copy_failed' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, told, Duration::from_secs(90)).await?;
    let attached = "SELECT count(*) || ' ' || count(*) FILTER (WHERE srrelid IN ('public.refused'::regclass, 'public.telling'::regclass)) FROM pg_subscription_rel";
    let attached = pair.destination.value("small", attached).await?;
    assert_eq!(attached, "41 0", "{}", controller.log_end());
    // What is told names constraint and line, and nothing of the row.
    let reasons = "SELECT string_agg(reason, ' | ' ORDER BY object) FROM migrator.findings WHERE code = 'copy_failed'";
    let reasons = pair.destination.value("migrator", reasons).await?;
    assert!(reasons.contains("no_secrets") && reasons.contains("line 1") && reasons.contains("P0001"), "{reasons}");
    assert!(pair.destination.log()?.contains("hunter2"), "the server does tell its log");
    let told = "SELECT count(*) FROM (SELECT to_jsonb(f)::text AS t FROM migrator.findings f UNION ALL SELECT to_jsonb(e)::text FROM migrator.events e
                UNION ALL SELECT to_jsonb(s)::text FROM migrator.tables s UNION ALL SELECT to_jsonb(c)::text FROM migrator.cutover_checks c) x
                WHERE t LIKE '%hunter2%'";
    assert_eq!(pair.destination.value("migrator", told).await?, "0", "in the views");
    assert!(!controller.log()?.contains("hunter2"), "in the log: {}", controller.log_end());
    // All of them are exact, the refused ones have nothing.
    let (mut old, mut new) =
        tokio::try_join!(compare::digests(&pair.source, "small"), compare::digests(&pair.destination, "small"))?;
    let missing = || Error::Broken("a refused table is not on both sides".to_owned());
    for refused in ["refused", "telling"] {
        let refused = ("public".to_owned(), refused.to_owned());
        assert_ne!(old.remove(&refused).ok_or_else(missing)?, new.remove(&refused).ok_or_else(missing)?);
    }
    assert_eq!(old, new);
    Ok(())
}
