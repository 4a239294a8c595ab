//! A physical standby of a server.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

use super::{Cluster, as_server_user, free_port, give_to_server_user, make_folder, output_of};
use crate::error::{Doing, Result};

impl Cluster {
    /// A streaming standby of this server, with these settings.
    pub async fn standby(&self, settings: &[(&str, &str)]) -> Result<Self> {
        let folder = make_folder(self.major, None)?;
        give_to_server_user(&folder)?;
        let data = folder.join("data");
        let mut words = as_server_user();
        words.push(self.bin.join("pg_basebackup").display().to_string());
        let mut backup = self.program(words[0].as_ref());
        backup.args(&words[1..]).current_dir("/").arg("-D").arg(&data);
        backup.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        output_of(backup)?;
        let port = free_port()?;
        let path = data.join("postgresql.auto.conf");
        let mut conf = format!("\nport = {port}\nunix_socket_directories = '{}'\n", folder.display());
        for (name, value) in settings {
            // Writing to a String can't fail.
            let _ = writeln!(conf, "{name} = '{value}'");
        }
        let mut file = OpenOptions::new().append(true).open(&path).doing(|| format!("opening {}", path.display()))?;
        file.write_all(conf.as_bytes()).doing(|| format!("writing {}", path.display()))?;
        Self::launch(self.major, &self.bin, folder, port, self.password.clone(), &[]).await
    }
}
