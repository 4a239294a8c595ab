use super::*;
use crate::provision::Setting;
use crate::provision::roles::RoleSetting;

fn role(name: &str) -> Role {
    Role {
        oid: 16_384,
        name: name.to_owned(),
        superuser: false,
        inherit: true,
        createrole: false,
        createdb: false,
        login: true,
        replication: false,
        bypassrls: false,
        connection_limit: -1,
        valid_until: None,
        password: Password::None,
        comment: None,
        labels: Vec::new(),
    }
}

fn membership(role: &str, member: &str, grantor: Option<&str>, admin: bool) -> Membership {
    Membership {
        role: role.to_owned(),
        member: member.to_owned(),
        grantor: grantor.map(str::to_owned),
        admin,
        inherit: true,
        set: true,
    }
}

fn options(policy: Policy) -> Options {
    Options {
        policy,
        fallback_password: None,
        ours: BTreeSet::new(),
        databases: BTreeSet::from(["shop".to_owned()]),
        unknown_settings: BTreeSet::from(["operator_precedence_warning".to_owned()]),
        own_role: "migrator".to_owned(),
        source_version: ServerVersion(150_000),
    }
}

fn instance(roles: Vec<Role>) -> Roles {
    Roles { roles, predefined: BTreeSet::from(["pg_monitor".to_owned()]), ..Roles::default() }
}

fn printed(plan: &RolePlan) -> Vec<&str> {
    plan.statements.iter().map(|s| s.printable.as_str()).collect()
}

fn codes(plan: &RolePlan) -> Vec<&str> {
    plan.findings.iter().map(|f| f.code.as_str()).collect()
}

#[test]
fn a_missing_role_is_made_with_its_hash_which_is_never_printed() {
    let mut app = role("o'b\"x");
    app.password = Password::Hash(SecretString::from("SCRAM-SHA-256$4096:a'b".to_owned()));
    app.valid_until = Some("2030-01-01 00:00:00+00".to_owned());
    app.connection_limit = 5;
    app.comment = Some("it's".to_owned());
    let plan = plan(&instance(vec![app]), &instance(vec![]), &options(Policy::Merge));
    let attributes = "NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 5 \
                      VALID UNTIL '2030-01-01 00:00:00+00'";
    assert_eq!(
        printed(&plan),
        [
            format!("CREATE ROLE \"o'b\"\"x\" WITH {attributes} PASSWORD '********'").as_str(),
            "COMMENT ON ROLE \"o'b\"\"x\" IS 'it''s'"
        ]
    );
    let create = &plan.statements[0];
    assert!(create.sql.expose_secret().ends_with("PASSWORD 'SCRAM-SHA-256$4096:a''b'"));
    assert!(!format!("{plan:?}").contains("SCRAM"));
    assert_eq!(plan.fates["o'b\"x"], Fate::Created);
}

#[test]
fn an_unreadable_password_becomes_the_fallback_and_a_finding() {
    let mut app = role("app");
    app.password = Password::Unreadable;
    let mut with_fallback = options(Policy::Merge);
    with_fallback.fallback_password = Some(SecretString::from("change-me".to_owned()));
    let source = instance(vec![app]);
    let planned = plan(&source, &instance(vec![]), &with_fallback);
    assert!(planned.statements[0].sql.expose_secret().ends_with("PASSWORD 'change-me'"));
    assert_eq!(planned.findings[0].severity, Severity::Warning);

    let planned = plan(&source, &instance(vec![]), &options(Policy::Merge));
    assert!(!planned.statements[0].sql.expose_secret().contains("PASSWORD"));
    assert_eq!((planned.findings[0].code.as_str(), planned.findings[0].severity), ("role_password_unreadable", Severity::Error));
}

#[test]
fn merging_adds_and_never_takes_away_or_touches_the_password() {
    let mut wanted = role("app");
    wanted.createdb = true;
    wanted.superuser = true;
    wanted.password = Password::Hash(SecretString::from("SCRAM-SHA-256$1".to_owned()));
    let mut present = role("app");
    present.createrole = true;
    present.login = false;
    present.password = Password::Hash(SecretString::from("SCRAM-SHA-256$2".to_owned()));
    let plan = plan(&instance(vec![wanted]), &instance(vec![present]), &options(Policy::Merge));
    assert_eq!(printed(&plan), ["ALTER ROLE \"app\" WITH CREATEDB LOGIN"]);
    assert_eq!(codes(&plan), ["role_lacks_attribute", "role_differs"]);
    assert_eq!(plan.fates["app"], Fate::Merged);
}

#[test]
fn skip_leaves_a_role_alone_and_fail_reports_it() {
    let mut wanted = role("app");
    wanted.createdb = true;
    let mut source = instance(vec![wanted, role("boss")]);
    source.memberships = vec![membership("boss", "app", None, false), membership("app", "boss", None, false)];
    let existing = instance(vec![role("app")]);

    let skipped = plan(&source, &existing, &options(Policy::Skip));
    assert_eq!(skipped.fates["app"], Fate::Skipped);
    assert!(printed(&skipped).iter().all(|sql| !sql.contains("TO \"app\"") && !sql.starts_with("ALTER")));
    assert!(printed(&skipped).iter().any(|sql| sql.starts_with("GRANT \"app\" TO \"boss\"")));

    let failed = plan(&source, &existing, &options(Policy::Fail));
    assert_eq!((failed.fates["app"], codes(&failed)), (Fate::Failed, vec!["role_exists"]));

    let mut ours = options(Policy::Fail);
    ours.ours.insert("app".to_owned());
    let again = plan(&source, &existing, &ours);
    assert_eq!((again.fates["app"], codes(&again)), (Fate::Created, vec![]));
}

#[test]
fn the_first_superuser_is_no_conflict() {
    let mut postgres = role("postgres");
    postgres.oid = BOOTSTRAP_SUPERUSER;
    postgres.superuser = true;
    let source = instance(vec![postgres.clone()]);
    let same_name = plan(&source, &instance(vec![postgres]), &options(Policy::Fail));
    assert!(same_name.statements.is_empty() && same_name.findings.is_empty());
    let other_name = plan(&source, &instance(vec![role("admin")]), &options(Policy::Fail));
    assert!(printed(&other_name)[0].starts_with("CREATE ROLE \"postgres\" WITH SUPERUSER"));
    assert_eq!(codes(&other_name), ["bootstrap_superuser"]);
}

#[test]
fn settings_go_where_they_hold() {
    let mut source = instance(vec![role("app")]);
    let setting = |database: Option<&str>, entry: &str| RoleSetting {
        role: "app".to_owned(),
        database: database.map(str::to_owned),
        setting: Setting::parse(entry).expect("an entry"),
    };
    source.settings = vec![
        setting(None, "search_path=a, b"),
        setting(None, "work_mem=1MB"),
        setting(None, "operator_precedence_warning=on"),
        setting(Some("shop"), "role=boss"),
        setting(Some("elsewhere"), "role=boss"),
    ];
    let mut existing = instance(vec![role("app")]);
    existing.settings = vec![setting(None, "work_mem=2MB")];
    let plan = plan(&source, &existing, &options(Policy::Merge));
    assert_eq!(printed(&plan), ["ALTER ROLE \"app\" SET \"search_path\" TO 'a', 'b'"]);
    let in_shop: Vec<_> = plan.in_database["shop"].iter().map(|s| s.printable.as_str()).collect();
    assert_eq!(in_shop, ["ALTER ROLE \"app\" IN DATABASE \"shop\" SET \"role\" TO 'boss'"]);
    assert_eq!(plan.in_database.len(), 1);
    assert_eq!(codes(&plan), ["setting_unknown"]);
}

#[test]
fn what_would_hinder_the_apply_workers_of_our_own_role_waits_for_the_cutover() {
    let mut source = instance(vec![role("app"), role("migrator")]);
    let setting = |role: &str, database: Option<&str>, entry: &str| RoleSetting {
        role: role.to_owned(),
        database: database.map(str::to_owned),
        setting: Setting::parse(entry).expect("an entry"),
    };
    source.settings = vec![
        setting("app", None, "lock_timeout=1s"),
        setting("app", Some("shop"), "role=boss"),
        setting("migrator", None, "transaction_timeout=1s"),
        setting("migrator", None, "work_mem=1MB"),
        setting("migrator", Some("shop"), "role=boss"),
        setting("migrator", Some("elsewhere"), "role=boss"),
    ];
    let existing = instance(vec![role("app"), role("migrator")]);
    let plan = plan(&source, &existing, &options(Policy::Merge));
    assert_eq!(
        printed(&plan),
        ["ALTER ROLE \"app\" SET \"lock_timeout\" TO '1s'", "ALTER ROLE \"migrator\" SET \"work_mem\" TO '1MB'"]
    );
    assert_eq!(plan.in_database["shop"].len(), 1);
    let waiting: Vec<_> =
        plan.at_cutover.into_iter().flat_map(|(database, all)| all.into_iter().map(move |one| (database.clone(), one))).collect();
    let pair = |set: &str, reset: &str| (set.to_owned(), reset.to_owned());
    assert_eq!(
        waiting,
        [
            (
                None,
                pair(
                    "ALTER ROLE \"migrator\" SET \"transaction_timeout\" TO '1s'",
                    "ALTER ROLE \"migrator\" RESET \"transaction_timeout\""
                )
            ),
            (
                Some("shop".to_owned()),
                pair(
                    "ALTER ROLE \"migrator\" IN DATABASE \"shop\" SET \"role\" TO 'boss'",
                    "ALTER ROLE \"migrator\" IN DATABASE \"shop\" RESET \"role\""
                )
            ),
        ]
    );
}

#[test]
fn grants_follow_the_grants_their_grantors_need() {
    let mut source = instance(vec![role("a"), role("b"), role("c"), role("team")]);
    source.memberships = vec![
        membership("team", "a", Some("b"), false),
        membership("team", "b", Some("c"), true),
        membership("team", "c", None, true),
    ];
    let mut options = options(Policy::Merge);
    options.source_version = ServerVersion(160_000);
    let planned = plan(&source, &instance(vec![]), &options);
    assert_eq!(
        printed(&planned)[4..],
        [
            "GRANT \"team\" TO \"c\" WITH ADMIN TRUE, INHERIT TRUE, SET TRUE",
            "GRANT \"team\" TO \"b\" WITH ADMIN TRUE, INHERIT TRUE, SET TRUE GRANTED BY \"c\"",
            "GRANT \"team\" TO \"a\" WITH ADMIN FALSE, INHERIT TRUE, SET TRUE GRANTED BY \"b\"",
        ]
    );

    // Before 16 a grantor says nothing.
    options.source_version = ServerVersion(150_000);
    assert!(printed(&plan(&source, &instance(vec![]), &options)).iter().all(|sql| !sql.contains("GRANTED BY")));
}

#[test]
fn a_grantor_who_cannot_grant_there_is_replaced() {
    let mut source = instance(vec![role("a"), role("team")]);
    source.memberships = vec![membership("team", "a", Some("gone"), false), membership("team", "a", Some("lost"), true)];
    let mut options = options(Policy::Merge);
    options.source_version = ServerVersion(170_000);
    let plan = plan(&source, &instance(vec![]), &options);
    assert_eq!(
        printed(&plan)[2..],
        [
            "GRANT \"team\" TO \"a\" WITH ADMIN FALSE, INHERIT TRUE, SET TRUE",
            "GRANT \"team\" TO \"a\" WITH ADMIN TRUE, INHERIT TRUE, SET TRUE",
        ]
    );
    assert_eq!(codes(&plan), ["membership_grantor", "membership_grantor"]);
}

#[test]
fn memberships_that_are_there_are_not_granted_again() {
    let mut source = instance(vec![role("a"), role("team")]);
    source.memberships = vec![
        membership("team", "a", None, true),
        membership("pg_monitor", "a", None, false),
        membership("pg_gone", "a", None, false),
    ];
    let mut existing = instance(vec![role("a"), role("team")]);
    existing.memberships = vec![membership("pg_monitor", "a", None, false), membership("team", "a", Some("z"), false)];
    let plan = plan(&source, &existing, &options(Policy::Merge));
    assert_eq!(printed(&plan), ["GRANT \"team\" TO \"a\" WITH ADMIN TRUE, INHERIT TRUE, SET TRUE"]);
    assert_eq!(codes(&plan), ["predefined_role_missing"]);
}
