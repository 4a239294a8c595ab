//! The `pg-migrator` command.

fn main() {}
