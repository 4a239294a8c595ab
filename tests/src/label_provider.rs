//! A provider of security labels for servers of any version: a module that takes every label, compiled on the spot.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::cluster::{Cluster, ClusterBuilder, output_of};
use crate::error::{Doing as _, Result};

/// The names of its providers, as the module registers them.
pub const PROVIDERS: [&str; 2] = ["It's a \"provider\"", "plain"];

/// The folder of the compiled modules; the servers need it as long as they run.
#[derive(Debug)]
pub struct LabelProvider {
    folder: TempDir,
}

impl LabelProvider {
    /// A folder that the servers' user may read.
    pub fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("pgm-labels-").doing(|| "creating a folder for the label provider".to_owned())?;
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).doing(|| "opening the folder of the label provider".to_owned())?;
        Ok(Self { folder })
    }

    /// The module for servers of this major version.
    pub fn library(&self, major: u32) -> Result<PathBuf> {
        let library = self.folder.path().join(format!("label_provider_{major}.so"));
        if !library.exists() {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("label_provider/label_provider.c");
            let mut compiler = Command::new("cc");
            compiler.args(["-shared", "-fPIC", "-Wall", "-Werror"]).arg(format!("-DMAJOR={major}"));
            compiler.arg("-o").arg(&library).arg(source);
            output_of(compiler)?;
        }
        Ok(library)
    }

    /// A server of this major version that has loaded it.
    pub fn server(&self, major: u32) -> Result<ClusterBuilder> {
        let library = self.library(major)?;
        Ok(Cluster::of(major).set("shared_preload_libraries", &library.display().to_string()))
    }
}
