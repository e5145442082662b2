//! One request over HTTP, as clients make them: plain, or behind TLS.

use std::{env, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, ToSocketAddrs},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    },
};
use zeroize::Zeroizing;

/// Our User-Agent: what is refused to it is no finding.
pub(super) const USER_AGENT: &str = "fleetctl-doctor";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 1024 * 1024;
/// Where systems keep the authorities that they trust.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

pub(super) type Trouble = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Answer = Result<(StatusCode, Bytes), Trouble>;

/// How the server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// Without TLS.
    Plain,
    /// Whoever it is: no secret may be sent.
    Anyone,
    /// Only if its certificate is good for its name, by the authorities that this system trusts.
    Trusted,
}

/// Sends a GET to `host`, which is connected to at `address`, and reads the answer.
pub(super) async fn ask(
    via: Via,
    address: impl ToSocketAddrs,
    host: &str,
    path: &str,
    token: Option<&str>,
) -> Answer {
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        let config = match via {
            Via::Plain => return exchange(stream, host, path, token).await,
            Via::Anyone => anyone()?,
            Via::Trusted => trusted()?,
        };
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        let bare = bare.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        exchange(stream, host, path, token).await
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err("no answer within 5 s".into()))
}

/// Whether it is the certificate that keeps us from asking.
pub(super) fn is_distrust(trouble: &Trouble) -> bool {
    let error = trouble.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let error = error.and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
    token: Option<&str>,
) -> Answer {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request =
        Request::get(path).header(header::HOST, host).header(header::USER_AGENT, USER_AGENT);
    if let Some(token) = token {
        let value = Zeroizing::new(format!("Bearer {token}"));
        request = request.header(header::AUTHORIZATION, &**value);
    }
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}

fn trusted() -> Result<ClientConfig, Trouble> {
    let named = env::var_os("SSL_CERT_FILE");
    let mut bundles = named.iter().map(Path::new).chain(BUNDLES.iter().map(Path::new));
    let bundle = bundles.find(|path| path.exists());
    let bundle =
        bundle.ok_or("this system has no bundle of certificates; install ca-certificates")?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_file_iter(bundle)?.flatten());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn anyone() -> Result<ClientConfig, Trouble> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Ok(config)
}

/// Takes every certificate, if only whoever shows it has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
