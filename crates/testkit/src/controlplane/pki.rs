//! The control plane's own certificate authority, serving certificate, service account keys and bearer tokens.
//!
//! All of it is made at start and dies with the state folder.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use aws_lc_rs::rand;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use super::state::StateDir;

/// Paths of what was written into the state folder, and the tokens in the token file.
pub(super) struct Pki {
    pub(super) ca: PathBuf,
    pub(super) server_cert: PathBuf,
    pub(super) server_key: PathBuf,
    pub(super) account_signing_key: PathBuf,
    pub(super) account_public_key: PathBuf,
    pub(super) token_file: PathBuf,
    pub(super) admin_token: String,
    pub(super) controller_manager_token: String,
}

impl Pki {
    pub(super) fn create(state: &StateDir) -> Result<Self> {
        let authority = authority().context("cannot create the certificate authority")?;
        let ca = state.write("ca.crt", &authority.certificate)?;
        let server = serving(&authority.issuer).context("cannot create the serving certificate")?;
        let accounts = KeyPair::generate().context("cannot create the service account key")?;
        let admin_token = random_token()?;
        let controller_manager_token = random_token()?;
        // Both are of system:masters: RBAC forbids the plain system:kube-controller-manager the deletes of its garbage
        // collector. The names keep the two apart in the audit log.
        let tokens = format!(
            "{admin_token},admin,admin,\"system:masters\"\n\
             {controller_manager_token},controller-manager,controller-manager,\"system:masters\"\n"
        );
        Ok(Self {
            ca,
            server_cert: state.write("server.crt", &server.certificate)?,
            server_key: state.write("server.key", &server.key)?,
            account_signing_key: state.write("service-accounts.key", &accounts.serialize_pem())?,
            account_public_key: state.write("service-accounts.pub", &accounts.public_key_pem())?,
            token_file: state.write("tokens.csv", &tokens)?,
            admin_token,
            controller_manager_token,
        })
    }
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Result<Authority, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "ipam-audit test control plane");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok(Authority { certificate, issuer: Issuer::new(params, key) })
}

struct Serving {
    certificate: String,
    key: String,
}

fn serving(issuer: &Issuer<'static, KeyPair>) -> Result<Serving, rcgen::Error> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?.pem();
    Ok(Serving { certificate, key: key.serialize_pem() })
}

fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    rand::fill(&mut bytes).ok().context("cannot draw random bytes")?;
    Ok(bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        write!(hex, "{byte:02x}").ok();
        hex
    }))
}
