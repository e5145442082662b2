//! Built-in TLS.

use std::{io, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::{self, ServerConfig, crypto::ring};

use crate::app::settings::TlsSettings;

/// Why a certificate or its key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read as PEM.
    #[error("the TLS {what} in `{path}` can't be used: {why}")]
    File {
        /// Which of the two.
        what: &'static str,
        /// Its path.
        path: String,
        /// The reason.
        why: String,
    },
    /// Certificate and key don't go together, or neither is of a known kind.
    #[error("the TLS certificate in `{certificate}` does not go with the key in `{key}`")]
    Pair {
        /// The certificate's path.
        certificate: String,
        /// The key's path.
        key: String,
        /// The reason.
        #[source]
        source: rustls::Error,
    },
}

/// Reads certificate and key. Blocks on the disk.
///
/// # Errors
/// When a file can't be read, or the two don't go together.
pub fn load(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    let file = |what, path: &std::path::Path, why: String| TlsError::File {
        what,
        path: path.display().to_string(),
        why,
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&settings.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| file("certificate", &settings.certificate, reason(&error)))?;
    if chain.is_empty() {
        let none = rustls_pki_types::pem::Error::NoItemsFound;
        return Err(file("certificate", &settings.certificate, reason(&none)));
    }
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|error| file("key", &settings.key, reason(&error)))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| TlsError::Pair {
            certificate: settings.certificate.display().to_string(),
            key: settings.key.display().to_string(),
            source,
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The parser's own words, which never quote the file.
fn reason(error: &rustls_pki_types::pem::Error) -> String {
    match error {
        rustls_pki_types::pem::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            "there is no such file".to_owned()
        }
        rustls_pki_types::pem::Error::Io(error) => error.to_string(),
        rustls_pki_types::pem::Error::NoItemsFound => "nothing of the kind is in it".to_owned(),
        _ => "it is no PEM".to_owned(),
    }
}
