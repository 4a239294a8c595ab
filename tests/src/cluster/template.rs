//! The data of a new server: made by initdb once for each version, then copied, which takes a small part of the time.
//!
//! The templates are kept in the folder of the servers that this project builds. Who may not write there has each server made by initdb.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{cache, give_to_server_user, output_of, server_command};
use crate::error::{Doing, Result};

const INITDB: [&str; 8] = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"];

/// Puts a new server's data into `folder`, as `data`. Gives the superuser's password.
pub(super) fn lay_out(bin: &Path, folder: &Path) -> Result<String> {
    let Some(template) = template(bin)? else { return initialise(bin, folder) };
    let mut copy = Command::new("cp");
    copy.args(["--archive", "--reflink=auto"]).arg(template.join("data")).arg(folder);
    output_of(copy)?;
    read_password(&template)
}

/// The folder with the data of this server's version, made if it is not there; none where nothing can be kept.
fn template(bin: &Path) -> Result<Option<PathBuf>> {
    let server = bin.join("postgres");
    let made = fs::metadata(&server).and_then(|file| Ok((file.len(), file.modified()?)));
    let mut hash = DefaultHasher::new();
    (&server, made.doing(|| format!("looking at {}", server.display()))?, INITDB).hash(&mut hash);
    let parent = PathBuf::from(cache()).join("templates");
    let template = parent.join(format!("{:016x}", hash.finish()));
    if template.is_dir() {
        return Ok(Some(template));
    }
    let made = fs::create_dir_all(&parent).and_then(|()| tempfile::Builder::new().prefix("making-").tempdir_in(&parent));
    let Ok(made) = made else { return Ok(None) };
    initialise(bin, made.path())?;
    let path = made.keep();
    if let Err(error) = fs::rename(&path, &template) {
        fs::remove_dir_all(&path).doing(|| format!("removing {}", path.display()))?;
        // Somebody else was faster.
        if !template.is_dir() {
            return Err(error).doing(|| format!("renaming to {}", template.display()));
        }
    }
    Ok(Some(template))
}

fn initialise(bin: &Path, folder: &Path) -> Result<String> {
    let path = password_file(folder);
    let password = format!("pw-{:032x}", rand::random::<u128>());
    let mut file = fs::File::create(&path).doing(|| format!("creating {}", path.display()))?;
    file.write_all(password.as_bytes()).doing(|| format!("writing {}", path.display()))?;
    give_to_server_user(folder)?;
    let mut initdb = server_command(&bin.join("initdb"));
    initdb.arg("-D").arg(folder.join("data")).args(INITDB).arg(format!("--pwfile={}", path.display()));
    output_of(initdb)?;
    Ok(password)
}

fn password_file(folder: &Path) -> PathBuf {
    folder.join("password")
}

fn read_password(folder: &Path) -> Result<String> {
    let path = password_file(folder);
    fs::read_to_string(&path).doing(|| format!("reading {}", path.display()))
}
