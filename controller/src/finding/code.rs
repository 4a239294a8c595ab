//! The kinds of findings: one list, of which the type [`Code`] and the page `docs/findings.md` are made.
//!
//! A new kind is one entry of the list: a variant, its name (the variant in snake case), the severities that it may have, what
//! it means, and what to do. Names are stable: scripts and alerts know them.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Severity::{self, Error, Info, Warning};

/// One kind of findings, as documented.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// The kind.
    pub code: Code,
    /// How much findings of this kind may matter.
    pub severities: &'static [Severity],
    /// What is the matter.
    pub meaning: &'static str,
    /// What an operator does about it.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($($group:literal { $($variant:ident $name:literal [$($severity:ident),+]: $meaning:literal => $remedy:literal;)+ })+) => {
        /// The kind of a finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(
                #[doc = $meaning]
                $variant,
            )+)+
        }

        impl Code {
            /// The name in output, in `migrator.findings` and in the documentation.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($(Self::$variant => $name,)+)+
                }
            }
        }

        /// All kinds, by what they are about.
        pub const GROUPS: &[(&str, &[Definition])] = &[
            $(($group, &[
                $(Definition { code: Code::$variant, severities: &[$($severity),+], meaning: $meaning, remedy: $remedy },)+
            ]),)+
        ];
    };
}

codes! {
    "Reaching the servers" {
        Unreachable "unreachable" [Error]:
            "A server, or a database on it, can't be connected to."
            => "Look at host, port, user, password and sslmode of the instance, at pg_hba.conf there, and whether the server runs.";
        CheckFailed "check_failed" [Error, Warning]:
            "A check could not be carried out; a warning if our role may not look at what it asks for."
            => "Mend what the message names, and check again.";
        PlanFailed "plan_failed" [Error]:
            "A database's catalogs could not be read."
            => "Mend what the message names, and check again.";
        NoDatabase "no_database" [Error]:
            "The mapping selects no database of the source."
            => "Look at databases.include and databases.exclude of the mapping.";
    }
    "The source instance" {
        SourceVersion "source_version" [Error]:
            "The source is older than PostgreSQL 10, or newer than 17."
            => "Upgrade it first; if it is newer, source and destination may be the wrong way round.";
        InRecovery "in_recovery" [Error]:
            "A standby is named as source or destination."
            => "Name its primary, or promote it.";
        WalLevel "wal_level" [Error]:
            "The source's WAL does not hold what logical decoding needs."
            => "On the source: ALTER SYSTEM SET wal_level = 'logical'; then restart it.";
        MaxReplicationSlots "max_replication_slots" [Error]:
            "The source has too few replication slots left for the streams and for the copy."
            => "Raise max_replication_slots on the source and restart it.";
        MaxWalSenders "max_wal_senders" [Error]:
            "The source has too few WAL senders left."
            => "Raise max_wal_senders on the source and restart it.";
        MaxConnections "max_connections" [Error]:
            "A server takes too few connections for the workers of the mapping."
            => "Raise max_connections there and restart it, or lower copy_workers.";
        MaxSourceConnections "max_source_connections" [Error]:
            "The mapping may not open enough sessions on the source to copy anything."
            => "Raise max_source_connections of the mapping.";
        MaxSlotWalKeepSize "max_slot_wal_keep_size" [Warning]:
            "The source limits how much WAL it keeps for a slot; a stream that falls further behind is lost."
            => "If the disk allows, set it to -1 until the migration is complete.";
        SourcePrivileges "source_privileges" [Error]:
            "Our role on the source may not replicate."
            => "Give it REPLICATION, or use a superuser.";
        SourceNotSuperuser "source_not_superuser" [Warning]:
            "Our role on the source is no superuser, and so can't see or do some things."
            => "Use a superuser if there is one; else set fallback_password, and stop the writers yourself at cutover.";
        ActivityHidden "activity_hidden" [Info]:
            "Our role on the source does not see other roles' transactions, and so not for whom the copy may have to wait."
            => "GRANT pg_read_all_stats TO it.";
        PreparedTransaction "prepared_transaction" [Warning]:
            "A prepared transaction is open on the source; the copy can't begin before it has ended."
            => "COMMIT PREPARED or ROLLBACK PREPARED it.";
        LongTransaction "long_transaction" [Warning]:
            "A transaction on the source has been open for ten seconds or more; the copy can't begin before it has ended."
            => "Let it end, or end its session.";
        OtherSlot "other_slot" [Warning, Info]:
            "Somebody else reads the source's WAL through a replication slot: a standby, an archive, a consumer of changes."
            => "Bring the consumer to the destination at the cutover; the slot itself can't be carried over.";
        DatabaseNotConnectable "database_not_connectable" [Warning]:
            "A database of the source allows no connections, or is left from an interrupted DROP DATABASE, and stays behind, as with pg_dumpall."
            => "Allow connections if it is to be carried over; drop it if it is invalid.";
        ContentsLeft "contents_left" [Warning]:
            "A database that every instance has holds something that stays behind: template1, or postgres where it does not take part."
            => "Do the same on the destination if it is wanted there, or name the database in databases.exclude.";
    }
    "The destination instance" {
        DestinationVersion "destination_version" [Error]:
            "The destination is not PostgreSQL 18."
            => "Name an instance of PostgreSQL 18.";
        DestinationPrivileges "destination_privileges" [Error]:
            "Our role on the destination is no superuser."
            => "Use a superuser there.";
        ExtensionMigrator "extension_migrator" [Error]:
            "The extension migrator is not installed on the destination's machine, or in another version."
            => "On that machine: make install PG_CONFIG=/path/to/pg_config.";
        ExtensionDblink "extension_dblink" [Error]:
            "The extension dblink is not installed on the destination's machine."
            => "Install PostgreSQL's contrib modules for 18.";
        MaxLogicalReplicationWorkers "max_logical_replication_workers" [Error]:
            "The destination has too few apply workers."
            => "Raise max_logical_replication_workers on the destination and restart it.";
        MaxWorkerProcesses "max_worker_processes" [Error]:
            "The destination has too few background workers."
            => "Raise max_worker_processes on the destination and restart it.";
        MaxActiveReplicationOrigins "max_active_replication_origins" [Error]:
            "The destination has too few replication origins."
            => "Raise max_active_replication_origins on the destination and restart it.";
    }
    "Roles" {
        RoleExists "role_exists" [Error]:
            "The destination has a role of this name, and roles = \"fail\" asks to stop then."
            => "Rename or drop the destination's role, or set roles = \"merge\" or \"skip\".";
        RoleLacksAttribute "role_lacks_attribute" [Warning]:
            "The source's role has an attribute of power that the destination's role of the same name lacks; it is not given."
            => "Give it by hand if both names mean the same user.";
        RoleDiffers "role_differs" [Info]:
            "The destination's role of this name keeps its own password, validity or connection limit."
            => "Nothing, if both names mean the same user; otherwise rename one.";
        RolePasswordUnreadable "role_password_unreadable" [Error, Warning]:
            "A role's password hash can't be read on the source."
            => "Let our role read pg_authid, set fallback_password, or set the password after the migration.";
        Md5Password "md5_password" [Info]:
            "A role's password is stored as an MD5 hash, which a later version than 18 will not take any more."
            => "Set the password anew after the migration.";
        BootstrapSuperuser "bootstrap_superuser" [Info]:
            "The source's first superuser has another name than the destination's, and is made as an ordinary superuser."
            => "Nothing; drop it after the migration if nobody uses it.";
        CreateroleRestricted "createrole_restricted" [Info]:
            "Since version 16 CREATEROLE manages only roles on which one has ADMIN OPTION."
            => "Grant the role those that it manages, WITH ADMIN OPTION.";
        MembershipGrantor "membership_grantor" [Info]:
            "Who granted a membership can't grant it on the destination; the destination's first superuser does."
            => "Nothing.";
        PredefinedRoleMissing "predefined_role_missing" [Warning]:
            "A membership is left out, since version 18 does not have this predefined role."
            => "Look in the release notes for what took its place.";
        SettingOfAllRoles "setting_of_all_roles" [Warning]:
            "ALTER ROLE ALL SET holds for every role of the source; like pg_dumpall, pg-migrator does not set it for the destination's."
            => "Say it on the destination too, if it is to hold for all roles there.";
        RoleFailed "role_failed" [Error]:
            "A statement about a role failed on the destination."
            => "Make the role by hand as the statement says, or mend what the message names.";
    }
    "Databases" {
        DatabaseGone "database_gone" [Warning]:
            "A database is no longer on the source under its name; what was carried over of it stays on the destination."
            => "Drop it on the destination if nobody needs it, its subscription first: the fix has the statements.";
        DatabaseRenamed "database_renamed" [Error]:
            "A database was renamed on the source since it was begun; it is not begun anew under its new name."
            => "Rename it back to go on, or leave it out with databases.exclude.";
        DatabaseMadeAnew "database_made_anew" [Error]:
            "A database was made anew on the source; what was carried over of the former one of its name is left as it is."
            => "Drop that on the destination to begin anew, its subscription first: the fix has the statements; or exclude the new one.";
        DatabaseExists "database_exists" [Error]:
            "The destination has a database of this name that was not made for this mapping; it is left alone."
            => "Exclude it, or rename the destination's.";
        DatabasePrivileges "database_privileges" [Error]:
            "Our role on the source may not make a publication in the database."
            => "GRANT CREATE ON DATABASE to it.";
        TablePrivileges "table_privileges" [Error]:
            "Our role on the source is not a member of the owners of some tables, and so can't publish them."
            => "GRANT it the owners, or use a superuser.";
        ExtensionMissing "extension_missing" [Error]:
            "The destination's machine does not have an extension that the database uses."
            => "Install its package for PostgreSQL 18; the finding names it.";
        ExtensionOlder "extension_older" [Warning]:
            "The destination's machine has a lower version of an extension than the source."
            => "Install a newer package.";
        ExtensionOwnsStorage "extension_owns_storage" [Error]:
            "An extension keeps rows in a storage of its own, which can't be carried over by copying and streaming tables."
            => "Move the database by the extension's own means, and exclude it here.";
        TableAccessMethod "table_access_method" [Error]:
            "A table's rows are kept by an access method whose changes logical decoding does not see."
            => "ALTER TABLE … SET ACCESS METHOD heap on the source, or exclude the database.";
        RowSecurity "row_security" [Error]:
            "Row security hides rows of a table from our role on the source."
            => "ALTER ROLE … BYPASSRLS, or use a superuser.";
        SchemaPrivileges "schema_privileges" [Error]:
            "Our role on the source may not use a schema, and so can't read the tables in it."
            => "GRANT USAGE ON SCHEMA to it, or use a superuser.";
        SequencePrivileges "sequence_privileges" [Error]:
            "Our role on the source may not read a sequence."
            => "GRANT SELECT ON SEQUENCE to it, or use a superuser.";
        ReservedName "reserved_name" [Error]:
            "A database or schema has a name that pg-migrator or the server keeps for itself."
            => "Rename it on the source; for the control database, set control_database to another name.";
        PublicationExists "publication_exists" [Error]:
            "The source has a publication of this mapping's name that is not ours."
            => "Give the mapping another name, or drop the publication if nobody needs it.";
        EventTrigger "event_trigger" [Info]:
            "An event trigger of the source fires also for what the migration does there."
            => "See that its function lets ALTER TABLE and CREATE PUBLICATION of our role pass.";
        CollationVersion "collation_version" [Warning, Info]:
            "The libraries of source and destination may sort text differently; a warning if partition keys or checks depend on it."
            => "Look over the conditions that the finding names.";
        CollationOutdated "collation_outdated" [Warning]:
            "The source's library sorts otherwise than when its indexes were made: they may miss rows or have let duplicates in."
            => "REINDEX on the source what uses the collation, and refresh its version.";
        LocaleMissing "locale_missing" [Error]:
            "The destination does not know the locale of a database, which is refused then, or of a collation, which costs what uses it alone."
            => "Generate it there, and restart PostgreSQL.";
        IcuMissing "icu_missing" [Error]:
            "A collation, or that of the database, comes from ICU, and the destination is built without it."
            => "Use a PostgreSQL 18 that is built with ICU.";
        LabelProviderMissing "label_provider_missing" [Warning]:
            "The destination has not loaded the provider of security labels; they are left out, everything else arrives, and the cutover does not wait for them."
            => "Load its library there before the cutover (shared_preload_libraries or session_preload_libraries), if the labels are needed.";
        MoneyFormat "money_format" [Error]:
            "The database has columns of type money, which a stream may send as text, and the destination does not know the locale that the source writes it by."
            => "Generate the source's lc_monetary on the destination's machine, and restart PostgreSQL.";
        SettingUnknown "setting_unknown" [Warning]:
            "A role or database sets a parameter that version 18 does not have; it is left out."
            => "Look in the release notes for what took its place.";
        SettingRefused "setting_refused" [Error]:
            "A role or database sets a parameter to a value that version 18 does not take."
            => "Set it to a value that both versions take, or reset it.";
        DatabaseSettingFailed "database_setting_failed" [Error]:
            "A setting, grant or comment of a database failed on the destination."
            => "Execute the statement by hand after mending what the message names.";
        TablespaceMissing "tablespace_missing" [Error, Warning]:
            "A tablespace that the mapping names is not there: an error on the destination, a warning on the source."
            => "CREATE TABLESPACE it on the destination, or mend the mapping's tablespaces.";
        TablespaceUnmapped "tablespace_unmapped" [Warning]:
            "The destination has no tablespace of this name; what is in it goes to the database's default one."
            => "CREATE TABLESPACE it on the destination, or map it to another; to pg_default if that is what you want.";
        LargeObjects "large_objects" [Error, Info]:
            "The database has large objects, which are carried beside the stream; an error if our role may not read them."
            => "GRANT SELECT ON pg_largeobject to our role; otherwise nothing.";
        UnloggedTables "unlogged_tables" [Info]:
            "The database has unlogged tables, whose rows are carried beside the stream, once more within the block of the cutover."
            => "Nothing; ALTER TABLE … SET LOGGED before the migration makes the block shorter.";
        TruncateNotCarried "truncate_not_carried" [Warning]:
            "The source is PostgreSQL 10, which does not publish TRUNCATE."
            => "Use DELETE until the cutover; a table that was truncated is noticed (not_equal), and is to be copied anew.";
    }
    "Schema" {
        StatementFailed "statement_failed" [Error]:
            "A statement of the plan failed on the destination, or in the rehearsal; what depends on it is left out too."
            => "Mend what the server's message names; the statement is in the finding.";
        NeedsFailedObject "needs_failed_object" [Warning]:
            "An object was left out, since it needs one that failed."
            => "Mend the failed object that the finding names; this one is then made by itself.";
        RemovedType "removed_type" [Error]:
            "A column or function has a type that version 18 does not have."
            => "Change the type on the source.";
        RemovedOperator "removed_operator" [Error]:
            "A definition uses an operator that version 18 does not have."
            => "Use what took its place, as the finding says.";
        OidColumn "oid_column" [Error]:
            "A definition uses the hidden column oid of a table made WITH OIDS."
            => "Copy the hidden column to an ordinary one, and use that.";
        ConversionFunction "conversion_function" [Error]:
            "A conversion between encodings is made of a function of the user's, whose arguments have changed in version 14."
            => "Make function and conversion on the destination by hand.";
        RemovedName "removed_name" [Error, Warning]:
            "A definition uses a name that the catalogs of version 18 do not have; an error where it has failed for that."
            => "Change the definition on the source to what both versions have.";
        ReservedWord "reserved_word" [Warning]:
            "A function's body uses a word that version 18 keeps for itself."
            => "If it is a column or a function of yours, write it in double quotes.";
        FunctionBodyFails "function_body_fails" [Warning]:
            "The body of a function is fine on the source, and version 18 refuses it: calls would fail."
            => "Change the body to what both versions take, or replace the function on the destination by the cutover.";
        RemovedSetting "removed_setting" [Error]:
            "A function sets a parameter that version 18 does not have or does not let be set."
            => "On the source: ALTER FUNCTION … RESET it.";
        PolymorphicFunction "polymorphic_function" [Error]:
            "An object is made of a built-in function whose argument types changed in version 14."
            => "Make it anew with anycompatiblearray and anycompatible.";
        PostfixOperator "postfix_operator" [Error]:
            "Postfix operators are gone since version 14."
            => "Call the operator's function instead, and drop the operator.";
        MaintenanceSearchPath "maintenance_search_path" [Warning, Info]:
            "Since version 17 indexes are built and materialized views filled with a fixed search_path, and a function depends on it; a warning if it \
             seems to."
            => "On the source: ALTER FUNCTION … SET search_path to what the function needs.";
        WithOids "with_oids" [Warning]:
            "A table was made WITH OIDS; its hidden column oid is gone since version 12."
            => "If anything reads that column, copy it to an ordinary one first.";
        PartitionIdentity "partition_identity" [Warning]:
            "A partition has an identity column of its own, which version 17 and later refuse."
            => "If rows are inserted into the partition itself, give the partitioned table the identity.";
        GeneratedColumn "generated_column" [Error]:
            "A column is generated in a table and not in its parent, or the other way round, which version 16 and later refuse."
            => "Make both alike on the source; the finding has the statements.";
        NullableChild "nullable_child" [Error]:
            "A column may be null in a table and not in its parent, which version 18 does not allow any more."
            => "Give the column a value where it has none, and SET NOT NULL; or take the table from its parent.";
        PartitionHash "partition_hash" [Error]:
            "A table is partitioned by the hash of an enum or of an object's name, which is another on the destination."
            => "Partition it by LIST on the source, or by the hash of another column.";
        UnloggedPartitioned "unlogged_partitioned" [Info]:
            "A partitioned table is marked as unlogged, which meant nothing before 18 and is refused by it."
            => "Nothing: it is made without the mark, and its partitions are unlogged where they are on the source.";
        IndexInvalid "index_invalid" [Warning]:
            "An index is not valid on the source, and is not carried over."
            => "REINDEX it or DROP it on the source.";
        DependencyLoop "dependency_loop" [Warning]:
            "Objects depend on each other in a way that PostgreSQL has no statements for."
            => "If the statement fails, make the object by hand after the others.";
        TableNeedsLateObject "table_needs_late_object" [Error]:
            "A table's definition needs an object that can only be made after the data."
            => "Change the definition on the source, or leave the table out.";
        ClassNotSupported "class_not_supported" [Warning]:
            "Objects of a kind that is not carried over exist on the source."
            => "Make them by hand on the destination.";
        ExtensionConfiguration "extension_configuration" [Warning, Info]:
            "An extension keeps users' rows in its tables; a warning where the destination's version has no place for some."
            => "Nothing: they are carried beside the stream. What has no place is to be brought over by hand.";
        UserMappingOptions "user_mapping_options" [Warning]:
            "Our role on the source may not see the options of a user mapping; it is made without them."
            => "Set the options on the destination, or read the source as a superuser.";
        Subscription "subscription" [Warning]:
            "The source is itself a subscriber; the subscription is made disabled, without a slot, or not at all."
            => "The finding says what to do about it at the cutover.";
    }
    "Tables and streams" {
        TableWithoutKey "table_without_key" [Error]:
            "A table has no usable key, and replica_identity = \"refuse\" leaves it out."
            => "Add a primary key on the source, or choose another replica_identity.";
        InsertsOnly "inserts_only" [Warning]:
            "Of tables without a usable key only what is inserted is carried, as replica_identity = \"insert_only\" says."
            => "Insert into them only, until the switch; they are compared before it, and one that differs is to be copied anew.";
        NotEqual "not_equal" [Error]:
            "A table of which the stream does not carry every kind of change is not the same on both sides."
            => "Copy it anew with migrator.resync.";
        CarriedInDoubt "carried_in_doubt" [Error, Warning]:
            "Something has happened to a table since it was copied because of which changes may be missing: another table has its name, it was out of our publication for a while, a server was restored or failed over; a warning if its columns were changed."
            => "Copy it anew with migrator.resync, or wait: it is compared by itself, and this goes when both sides are equal.";
        TableNotComparable "table_not_comparable" [Error]:
            "A table has no usable key and columns of types without equality: its rows can't be found by their old values."
            => "Add a primary key on the source, or choose replica_identity = \"insert_only\".";
        TableKeyGenerated "table_key_generated" [Error]:
            "A table's only key has a generated column, which the source does not send: updates and deletes could not be applied."
            => "Add a unique index over columns that are not generated and not null on the source.";
        TableNotPublished "table_not_published" [Error]:
            "A table could not be published or given its replica identity."
            => "Mend what the source's message names.";
        CopyFailed "copy_failed" [Error]:
            "Copying a table failed; it is tried again at growing intervals."
            => "Mend what the message names.";
        StepFailed "step_failed" [Error, Warning]:
            "A step of a database failed and is tried again; an error if it has failed for a minute."
            => "If it stays, mend what the message names.";
        SlotExists "slot_exists" [Error]:
            "The source has a replication slot of this mapping's name that is not ours."
            => "Give the mapping another name, or drop the slot if nobody needs it.";
        SlotLost "slot_lost" [Error]:
            "The source has discarded WAL that the stream still needed."
            => "Give the source more room for WAL, then copy the database again, of several streams this one's tables: migrator.resync.";
        SlotGone "slot_gone" [Error]:
            "The stream's slot is no longer on the source."
            => "Copy the database again, of several streams this one's tables: migrator.resync.";
        SlotDropped "slot_dropped" [Error]:
            "The stream's slot was dropped to protect the source, which kept too much WAL for it (wal_guard = \"drop_slot\")."
            => "When there is room for more WAL, copy the database again, of several streams this one's tables: migrator.resync.";
        WalLimitNear "wal_limit_near" [Warning]:
            "The WAL that the source keeps for a stream comes near its limit, or soon will."
            => "See to it that the stream catches up, or give it more room: max_slot_wal_keep_size, wal_limit.";
        SubscriptionGone "subscription_gone" [Error]:
            "The stream's subscription is no longer on the destination; the database is left as it is."
            => "If it has been switched over, mark the mapping complete; otherwise begin anew under another name.";
        ApplyConflict "apply_conflict" [Error]:
            "The stream could not apply a change of this table; the table was taken out of the stream, and the others go on."
            => "Mend on the destination what the reason names, if it would happen again (a constraint, a column), and resync the table.";
        StreamFailing "stream_failing" [Error]:
            "A stream's apply worker fails again and again, and no table was found that it could go on without."
            => "Look into the destination's server log for the apply worker's message; it is tried again by itself.";
        RowsMissing "rows_missing" [Error, Warning]:
            "The source updated or deleted rows that the destination does not have; a warning where no table was found to lack any: those that could not be compared since they are being written to are compared within the block of the cutover."
            => "Resync the tables that an error names; nothing for a warning, but the cutover is refused if a table is not equal then.";
        StreamsDiffer "streams_differ" [Warning]:
            "A database was begun with another number of streams than the configuration says; it keeps those it has."
            => "Nothing; set streams to the number it has to be rid of the warning.";
        StandbyNotUsed "standby_not_used" [Warning]:
            "The standby named in copy_from can't be read from; rows are read from the source itself."
            => "Mend what the message names, if the source is to be spared; otherwise nothing.";
        StatisticsLeft "statistics_left" [Warning]:
            "A table's statistics could not be carried over."
            => "ANALYZE it on the destination.";
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// So that tests can name codes as users do.
impl PartialEq<&str> for Code {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_its_variant_in_snake_case_and_is_used_once() {
        let codes: Vec<Code> = GROUPS.iter().flat_map(|(_, group)| *group).map(|d| d.code).collect();
        for (i, code) in codes.iter().enumerate() {
            let mut name = String::new();
            for c in format!("{code:?}").chars() {
                if c.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(c.to_ascii_lowercase());
            }
            assert_eq!(code.as_str(), name);
            assert!(codes[..i].iter().all(|other| other.as_str() != name), "{name} is there twice");
        }
    }
}
