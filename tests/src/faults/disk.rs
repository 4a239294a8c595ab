//! A small disk: a file system in memory, which only root may mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{is_root, output_of};
use crate::error::{Doing, Result};

/// Enough for a server and a round's database, twice.
const SIZE: &str = "size=700m,mode=755";

/// A mounted disk; taken away at the end.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one; none if this machine does not let us, with its words on stderr.
    pub fn mount() -> Result<Option<Self>> {
        if !is_root() {
            eprintln!("no small disk: only root may mount one");
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("pgm-disk-").tempdir().doing(|| "creating a folder".to_owned())?.keep();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&folder);
        match output_of(mount) {
            Ok(_) => Ok(Some(Self { folder })),
            Err(error) => {
                eprintln!("no small disk: {error}");
                std::fs::remove_dir(&folder).doing(|| format!("removing {}", folder.display()))?;
                Ok(None)
            }
        }
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        // Whoever still has a file open keeps it until then.
        unmount.arg("-l").arg(&self.folder);
        if let Err(error) = output_of(unmount).and_then(|_| std::fs::remove_dir(&self.folder).doing(|| "removing it".to_owned()))
        {
            eprintln!("{} is left: {error}", self.folder.display());
        }
    }
}
