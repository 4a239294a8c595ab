//! libpq's `sslmode`s on OpenSSL. rustls has no way to say "encrypted, but do not look at the certificate" or
//! "any host of this authority" without a verifier of one's own; OpenSSL has both as settings.

use std::net::IpAddr;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;

use crate::config::{Instance, SslMode};

/// The mode that holds for this instance: the one configured, else by how far away it is.
pub fn effective_mode(instance: &Instance) -> SslMode {
    instance.sslmode.unwrap_or_else(|| if is_local(&instance.host) { SslMode::Prefer } else { SslMode::VerifyFull })
}

fn is_local(host: &str) -> bool {
    host.starts_with('/') || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Makes the connector for an encrypted mode.
pub fn connector(instance: &Instance, mode: SslMode) -> Result<MakeTlsConnector, openssl::error::ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    if let Some(file) = &instance.sslrootcert {
        builder.set_ca_file(file)?;
    }
    let verify_chain = match mode {
        SslMode::VerifyCa | SslMode::VerifyFull => true,
        // libpq: with a root certificate at hand, `require` verifies it, for compatibility with its own past.
        SslMode::Require => instance.sslrootcert.is_some(),
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => false,
    };
    builder.set_verify(if verify_chain { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
    let mut connector = MakeTlsConnector::new(builder.build());
    let verify_host = mode == SslMode::VerifyFull;
    connector.set_callback(move |configuration, _| {
        configuration.set_verify_hostname(verify_host);
        Ok(())
    });
    Ok(connector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_prefers_and_remote_verifies() {
        assert!(is_local("127.0.0.1") && is_local("::1") && is_local("localhost") && is_local("/run/postgresql"));
        assert!(!is_local("db.example.org") && !is_local("10.0.0.1"));
    }
}
