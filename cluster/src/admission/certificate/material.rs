//! An authority, a certificate by it, and their keys.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ebb_core::Tick;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};

use ebb_proxy::net::tls::provider;

/// How long an authority is believed.
pub(super) const AUTHORITY_LIFE: Duration = days(3650);
/// How long a certificate is.
pub(super) const CERTIFICATE_LIFE: Duration = days(365);
/// Both are from before they were made: not all clocks are right.
pub(super) const BACKDATED: Duration = days(1);

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

// Where the parts are in the Secret.
const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const AUTHORITY_UNTIL: &str = "ca.until";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The end of a certificate in PEM.
const END: &str = "-----END CERTIFICATE-----\n";

/// What the Secret holds, as text.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::admission) struct Material {
    /// Who is to be believed: the newest, whose key this is, and those before it whose certificates may still be
    /// served. PEM.
    authorities: Vec<String>,
    authority_key: String,
    /// When the newest one ends. Written beside it, because nothing else here reads X.509.
    authority_until: Tick,
    certificate: String,
    key: String,
}

impl Material {
    /// An authority and a certificate for `names`.
    ///
    /// # Errors
    ///
    /// A name that no certificate can have, or no random numbers.
    pub(in crate::admission) fn generate(names: &[String], now: Tick) -> Result<Self, rcgen::Error> {
        let none = Self {
            authorities: Vec::new(),
            authority_key: String::new(),
            authority_until: now,
            certificate: String::new(),
            key: String::new(),
        };
        none.with_authority(now)?.with_certificate(names, now)
    }

    /// The same with a new authority; the certificate is still by the one before.
    pub(super) fn with_authority(&self, now: Tick) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let until = now.after(AUTHORITY_LIFE);
        let mut params = authority();
        valid(&mut params, now, until);
        let mut authorities = vec![params.self_signed(&key)?.pem().replace('\r', "")];
        authorities.extend_from_slice(&self.authorities);
        Ok(Self { authorities, authority_key: key.serialize_pem(), authority_until: until, ..self.clone() })
    }

    /// The same with a new certificate by the newest authority. Those before it are forgotten once they have no
    /// part in the certificate that is replaced.
    pub(super) fn with_certificate(&self, names: &[String], now: Tick) -> Result<Self, rcgen::Error> {
        let issuer = Issuer::new(authority(), KeyPair::from_pem(&self.authority_key)?);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name("Ebb webhooks");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let until = now.after(CERTIFICATE_LIFE).min(self.authority_until);
        valid(&mut params, now, until);
        let certificate = params.signed_by(&key, &issuer)?.pem().replace('\r', "");
        let mut authorities = self.authorities.clone();
        if names.first().is_some_and(|name| self.is_believed(By::Newest, name, now)) {
            authorities.truncate(1);
        }
        Ok(Self { authorities, certificate, key: key.serialize_pem(), ..self.clone() })
    }

    /// What `secret` holds; `None` if that is not all of it.
    pub(in crate::admission) fn read(secret: &Secret) -> Option<Self> {
        let data = secret.data.as_ref()?;
        let text = |key| String::from_utf8(data.get(key)?.0.clone()).ok();
        let authorities = text(AUTHORITIES)?.split_inclusive(END).map(str::to_owned).collect();
        let until: jiff::Timestamp = text(AUTHORITY_UNTIL)?.trim().parse().ok()?;
        let material = Self {
            authorities,
            authority_key: text(AUTHORITY_KEY)?,
            authority_until: Tick::from_secs(u64::try_from(until.as_second()).ok()?),
            certificate: text(CERTIFICATE)?,
            key: text(KEY)?,
        };
        material.certified_key()?;
        material.has_newest_authoritys_key().then_some(material)
    }

    /// As a Secret's data.
    pub(in crate::admission) fn to_data(&self) -> BTreeMap<String, ByteString> {
        let until = i64::try_from(self.authority_until.as_secs()).unwrap_or(i64::MAX);
        let until = jiff::Timestamp::from_second(until).unwrap_or(jiff::Timestamp::MAX);
        let parts = [
            (AUTHORITIES, self.bundle()),
            (AUTHORITY_KEY, self.authority_key.clone()),
            (AUTHORITY_UNTIL, until.to_string()),
            (CERTIFICATE, self.certificate.clone()),
            (KEY, self.key.clone()),
        ];
        parts.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).into()
    }

    /// Every authority that the API server is to believe.
    pub(in crate::admission) fn bundle(&self) -> String {
        self.authorities.concat()
    }

    /// What is served; `None` if it cannot be.
    pub(in crate::admission) fn certified_key(&self) -> Option<CertifiedKey> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).ok()?;
        CertifiedKey::from_der(vec![self.leaf()?], key, &provider()).ok()
    }

    /// When the newest authority ends.
    pub(super) fn authority_until(&self) -> Tick {
        self.authority_until
    }

    /// Whether whoever believes those authorities takes the certificate for one of `name` at the time.
    pub(super) fn is_believed(&self, by: By, name: &str, at: Tick) -> bool {
        let authorities = match by {
            By::Newest => self.authorities.get(..1).unwrap_or_default(),
            By::Any => &self.authorities,
        };
        let verified = || {
            let name = ServerName::try_from(name).ok()?;
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).ok()?).ok()?;
            }
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()?;
            let at = UnixTime::since_unix_epoch(at.since_epoch());
            verifier.verify_server_cert(&self.leaf()?, &[], &name, &[], at).ok()
        };
        verified().is_some()
    }

    /// Whether certificates by the key would be believed. A key is in the certificate that says whose it is.
    fn has_newest_authoritys_key(&self) -> bool {
        let key = KeyPair::from_pem(&self.authority_key).ok();
        let newest = self.authorities.first().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()));
        let (Some(key), Some(Ok(newest))) = (key, newest) else { return false };
        let public = key.public_key_raw();
        newest.windows(public.len()).any(|part| part == public)
    }

    fn leaf(&self) -> Option<CertificateDer<'static>> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok()
    }
}

/// Whose word is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Newest,
    Any,
}

/// What is the same for all authorities: one can be made an issuer again from its key alone.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Ebb webhooks authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// The certificate holds from just before `now` to `until`.
fn valid(params: &mut CertificateParams, now: Tick, until: Tick) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.before(BACKDATED).since_epoch();
    params.not_after = epoch + until.since_epoch();
}
