//! A role that the destination has already: added to, left alone, or refused, as the mapping says.

use pg_migrator_tests::pair::READY_LIMIT;
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Mapping, Result};

/// What a destination says of a role: its attributes, its password, its limit, its comment, its settings, what it is a member of.
async fn described(cluster: &Cluster, role: &str) -> Result<String> {
    cluster
        .value(
            "postgres",
            &format!(
                "SELECT concat_ws(' | ', rolcanlogin, rolcreatedb, rolsuper, rolconnlimit, rolpassword,
                                  shobj_description(oid, 'pg_authid'),
                                  (SELECT setconfig::text FROM pg_db_role_setting WHERE setrole = a.oid AND setdatabase = 0),
                                  ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = a.oid ORDER BY 1)::text)
                 FROM pg_authid a WHERE rolname = '{role}'"
            ),
        )
        .await
}

#[tokio::test]
async fn a_role_that_is_there_is_added_to_or_left_alone_or_refused() -> Result<()> {
    let (source, merged, skipped, failed) =
        tokio::try_join!(Cluster::start(15), Cluster::start(18), Cluster::start(18), Cluster::start(18))?;
    source
        .run(
            "postgres",
            "CREATE ROLE app LOGIN SUPERUSER PASSWORD 'of the source' CONNECTION LIMIT 1; COMMENT ON ROLE app IS 'from the source';
             CREATE ROLE readers; GRANT readers TO app; ALTER ROLE app SET work_mem = '7MB'; ALTER ROLE app SET my.own = 'new'",
        )
        .await?;
    for database in ["one", "two", "three"] {
        source.run("postgres", &format!("CREATE DATABASE {database} OWNER app")).await?;
        source.run(database, "CREATE TABLE t (id integer PRIMARY KEY)").await?;
    }
    for destination in [&merged, &skipped, &failed] {
        destination
            .run(
                "postgres",
                "CREATE ROLE app CREATEDB PASSWORD 'of the destination' CONNECTION LIMIT 5; ALTER ROLE app SET work_mem = '1MB'",
            )
            .await?;
    }
    let before = described(&skipped, "app").await?;
    let refused_before = described(&failed, "app").await?;
    let password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
    let old_password = merged.value("postgres", password).await?;
    let config = ConfigFile::new()
        .instance("old", &source)
        .instance("merged", &merged)
        .instance("skipped", &skipped)
        .instance("failed", &failed)
        .mapping(&Mapping::new("merge", "old", "merged").databases(&["one"]))
        .mapping(&Mapping::new("skip", "old", "skipped").databases(&["two"]).line("roles = \"skip\""))
        .mapping(&Mapping::new("fail", "old", "failed").databases(&["three"]).line("roles = \"fail\""));
    let mut controller = Controller::new(&config)?;
    let checked = controller.check().await?;
    checked.must_have(&[
        ("error", "", "role_exists", "\"app\""),
        ("warning", "", "role_lacks_attribute", "\"app\""),
        ("info", "", "role_differs", "\"app\""),
    ])?;
    assert_eq!(checked.codes("error"), ["role_exists"]);
    controller.start()?;
    controller.wait_until_ready(&merged, "merge", READY_LIMIT).await?;
    controller.wait_until_ready(&skipped, "skip", READY_LIMIT).await?;
    // What it lacked was added; password, limit and setting are its own; nobody became a superuser.
    let expected = format!("t | t | f | 5 | {old_password} | from the source | {{work_mem=1MB,my.own=new}} | {{readers}}");
    assert_eq!(described(&merged, "app").await?, expected);
    assert_eq!(described(&skipped, "app").await?, before);
    let refused = "(SELECT count(*) > 0 FROM migrator.findings WHERE code = 'role_exists' AND resolved_at IS NULL)";
    controller.wait_for(&failed, refused, READY_LIMIT).await?;
    assert_eq!(failed.databases().await?, ["migrator"], "nothing was made of the refused mapping");
    assert_eq!(described(&failed, "app").await?, refused_before);
    Ok(())
}

/// What is told of roles, worst first.
const TOLD: &str = "SELECT severity, code, object FROM migrator.findings
                    WHERE resolved_at IS NULL AND object LIKE '%role%' AND severity <> 'info' ORDER BY 1, 2, 3";

#[tokio::test]
async fn what_is_told_of_roles_is_over_when_it_is_mended_and_what_they_got_since_comes_along() -> Result<()> {
    let (source, destination) = tokio::try_join!(Cluster::start(15), Cluster::start(18))?;
    source
        .run(
            "postgres",
            "CREATE ROLE app SUPERUSER; CREATE ROLE readers; GRANT readers TO app; SET password_encryption = 'md5';
             CREATE ROLE old LOGIN PASSWORD 'of the source'",
        )
        .await?;
    source.run("postgres", "CREATE DATABASE shop").await?;
    source.run("shop", "CREATE TABLE t (id integer PRIMARY KEY)").await?;
    // The membership that it should get would be a circle there.
    destination.run("postgres", "CREATE ROLE app; CREATE ROLE readers; GRANT app TO readers").await?;
    let config = ConfigFile::new()
        .tick("100ms")
        .instance("old", &source)
        .instance("new", &destination)
        .mapping(&Mapping::new("erp", "old", "new"));
    let mut controller = Controller::started(&config)?;
    let streams = "EXISTS (SELECT FROM migrator.status() WHERE database = 'shop' AND tables_synced = 1)
                   AND EXISTS (SELECT FROM migrator.findings WHERE code = 'role_failed' AND resolved_at IS NULL)";
    controller.wait_for(&destination, streams, READY_LIMIT).await?;
    let told = destination.rows("migrator", TOLD).await?;
    let told: Vec<_> = told.iter().map(|row| (row[0].as_str(), row[1].as_str(), row[2].as_str())).collect();
    assert_eq!(told, [("error", "role_failed", "role app"), ("warning", "role_lacks_attribute", "role \"app\"")]);
    assert_eq!(destination.value("migrator", "SELECT migrator.cutover_ready('erp')").await?, "f");
    let md5 = "SELECT count(*) FROM migrator.findings WHERE code = 'md5_password' AND resolved_at IS NULL";
    assert_eq!(destination.value("migrator", md5).await?, "1");

    destination.run("postgres", "REVOKE app FROM readers; ALTER ROLE app SUPERUSER; ALTER ROLE old PASSWORD 'another'").await?;
    source.run("postgres", "CREATE ROLE late LOGIN PASSWORD 'late'; GRANT late TO readers").await?;
    controller.wait_until_ready(&destination, "erp", READY_LIMIT).await?;
    let over = format!("({md5}) = 0 AND EXISTS (SELECT FROM migrator.roles WHERE role = 'late' AND state = 'created')");
    controller.wait_for(&destination, &over, READY_LIMIT).await?;
    assert_eq!(destination.rows("migrator", TOLD).await?, Vec::<Vec<String>>::new());
    let members = "SELECT roleid::regrole::text || ' to ' || member::regrole::text FROM pg_auth_members WHERE member::regrole::text !~ '^pg_' ORDER BY 1";
    assert_eq!(destination.column("postgres", members).await?, ["late to readers", "readers to app"]);
    destination.connect_as("late", "late", "postgres").await?;
    // It was mended on the destination, and is not undone.
    destination.connect_as("old", "another", "postgres").await?;
    Ok(())
}
