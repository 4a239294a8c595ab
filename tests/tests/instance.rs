//! What belongs to the instance arrives as `pg_dumpall` would carry it: roles with everything they have, what they may set, databases with their
//! definition.

use std::fmt::Write as _;

use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Error, Mapping, Pair, Result, dump_diff};

/// Roles of every version; names and values as nasty as they may be.
const ROLES: &str = r#"
CREATE ROLE boss SUPERUSER NOINHERIT CREATEDB CREATEROLE LOGIN REPLICATION BYPASSRLS PASSWORD 'secret';
CREATE ROLE "robert'); DROP ROLE boss; --" LOGIN CONNECTION LIMIT 0 VALID UNTIL 'infinity';
CREATE ROLE "Größe ""quoted"" \ back" NOLOGIN CONNECTION LIMIT 3 VALID UNTIL '2030-02-28 23:59:59.5+05:30';
CREATE ROLE "select" VALID UNTIL '-infinity';
CREATE ROLE "            a name of 63 bytes with spaces in front of it, and more" NOINHERIT;
COMMENT ON ROLE boss IS E'it''s\nthe "boss"; \\ \t--';
COMMENT ON ROLE "select" IS 'SELECT 1;';
SET password_encryption = 'md5';
CREATE ROLE md5_user LOGIN PASSWORD 'old fashioned';
SET password_encryption = 'scram-sha-256';
CREATE ROLE scram_user LOGIN PASSWORD 'it''s \ "odd"';
ALTER ROLE boss SET search_path = "We ird", 'it''s', "$user", public;
ALTER ROLE boss SET work_mem = '7MB';
ALTER ROLE boss SET application_name = E'a\nb\\c''d"e=f';
ALTER ROLE boss SET my.own = '';
ALTER ROLE "select" SET "DateStyle" = 'ISO, DMY';
ALTER ROLE "robert'); DROP ROLE boss; --" SET session_preload_libraries = '';
CREATE ROLE "group";
CREATE ROLE deputy LOGIN;
CREATE ROLE "member, plain";
CREATE ROLE quiet NOINHERIT;
GRANT "group" TO deputy WITH ADMIN OPTION;
SET SESSION AUTHORIZATION deputy;
GRANT "group" TO "member, plain";
RESET SESSION AUTHORIZATION;
GRANT "group" TO quiet;
GRANT pg_monitor TO "member, plain" WITH ADMIN OPTION;
GRANT boss TO quiet;
"#;

/// Since 15 roles may be let set parameters.
const PARAMETERS: &str = r#"
GRANT SET ON PARAMETER work_mem, my.custom TO "select";
GRANT SET, ALTER SYSTEM ON PARAMETER log_statement TO deputy WITH GRANT OPTION;
SET SESSION AUTHORIZATION deputy;
GRANT SET ON PARAMETER log_statement TO "member, plain";
RESET SESSION AUTHORIZATION;
GRANT SET ON PARAMETER "DateStyle" TO PUBLIC;
"#;

/// Since 16 a membership has options, and grantors mean something.
const OPTIONS: &str = r#"
GRANT "select" TO deputy WITH INHERIT FALSE, SET FALSE, ADMIN TRUE;
GRANT "select" TO quiet WITH INHERIT TRUE;
SET SESSION AUTHORIZATION deputy;
GRANT "select" TO "member, plain" WITH SET FALSE;
RESET SESSION AUTHORIZATION;
"#;

/// A database that has everything that a database may have.
const DATABASE: &str = r#"
COMMENT ON DATABASE "We ird" IS E'it''s\na "database"; --';
ALTER DATABASE "We ird" SET search_path = "We ird", 'it''s';
ALTER DATABASE "We ird" SET my.own = E'a\nb';
ALTER DATABASE "We ird" SET default_transaction_isolation = 'repeatable read';
ALTER ROLE boss IN DATABASE "We ird" SET work_mem = '9MB';
ALTER ROLE "select" IN DATABASE "We ird" SET search_path = 'it''s';
REVOKE ALL ON DATABASE "We ird" FROM PUBLIC;
GRANT CONNECT ON DATABASE "We ird" TO deputy WITH GRANT OPTION;
SET SESSION AUTHORIZATION deputy;
GRANT CONNECT ON DATABASE "We ird" TO "member, plain";
RESET SESSION AUTHORIZATION;
"#;

async fn arrives_as_pg_dumpall_would_carry_it(major: u32) -> Result<()> {
    let pair = Pair::start(major).await?;
    let yardstick = Cluster::start(18).await?;
    let mut script = ROLES.to_owned();
    let mut databases = vec!["We ird"];
    script.push_str("CREATE DATABASE \"We ird\" OWNER boss CONNECTION LIMIT 7 IS_TEMPLATE true;\n");
    script.push_str(DATABASE);
    if major >= 15 {
        script.push_str(PARAMETERS);
        databases.push("icu");
        let rules = if major >= 16 { " ICU_RULES '&v < w'" } else { "" };
        // Writing to a String can't fail.
        let _ = writeln!(script, "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT'{rules};");
    }
    if major >= 16 {
        script.push_str(OPTIONS);
    }
    if major >= 17 {
        databases.push("built_in");
        script.push_str("CREATE DATABASE built_in TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8';\n");
    }
    dump_diff::psql(&pair.source, "postgres", &script)?;
    dump_diff::copy_globals(&pair.source, &yardstick)?;
    for database in &databases {
        pair.source.run(database, "CREATE TABLE t (id integer PRIMARY KEY)").await?;
        dump_diff::copy_database(&pair.source, &yardstick, database)?;
    }
    let mut controller = Controller::new(&pair.config())?;
    let checked = controller.check().await?;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.has("info", "", "md5_password", "md5_user"), "{checked:?}");
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;
    let mut broken = Vec::new();
    let expected = dump_diff::globals(&yardstick, &["postgres"])?;
    let found = dump_diff::globals(&pair.destination, &["postgres", "migrator_operator"])?;
    assert!(expected.contains("DROP ROLE boss") && expected.contains("SCRAM-SHA-256"), "the yardstick has what is compared");
    broken.extend(dump_diff::same("roles", &expected, &found).err());
    for database in databases {
        let (expected, found) = (dump_diff::schema(&yardstick, database)?, dump_diff::schema(&pair.destination, database)?);
        broken.extend(dump_diff::same(database, &expected, &found).err());
    }
    // The lines about memberships name the superuser as well: these are compared by themselves.
    let memberships =
        "SELECT concat_ws(' | ', roleid::regrole, member::regrole, grantor::regrole, admin_option, inherit_option, set_option)
                       FROM pg_auth_members WHERE roleid >= 16384 OR member >= 16384 ORDER BY 1";
    let expected = yardstick.column("postgres", memberships).await?;
    let found = pair.destination.column("postgres", memberships).await?;
    assert_eq!(expected.len(), if major >= 16 { 8 } else { 5 }, "{expected:?}");
    broken.extend(dump_diff::same("memberships", &expected.join("\n"), &found.join("\n")).err());
    // The passwords are the old ones.
    pair.destination.connect_as("scram_user", "it's \\ \"odd\"", "postgres").await?;
    if broken.is_empty() {
        return Ok(());
    }
    Err(Error::Broken(broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")))
}

#[tokio::test]
async fn the_instance_of_postgresql_10_arrives() -> Result<()> {
    arrives_as_pg_dumpall_would_carry_it(10).await
}

#[tokio::test]
async fn the_instance_of_postgresql_13_arrives() -> Result<()> {
    arrives_as_pg_dumpall_would_carry_it(13).await
}

#[tokio::test]
async fn the_instance_of_postgresql_15_arrives() -> Result<()> {
    arrives_as_pg_dumpall_would_carry_it(15).await
}

#[tokio::test]
async fn the_instance_of_postgresql_17_arrives() -> Result<()> {
    arrives_as_pg_dumpall_would_carry_it(17).await
}

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
