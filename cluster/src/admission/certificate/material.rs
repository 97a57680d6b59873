//! An authority, a certificate that it issued, and their keys.

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

/// How long an authority is valid.
pub(super) const AUTHORITY_LIFE: Duration = days(3650);
/// How long a certificate is valid.
pub(super) const CERTIFICATE_LIFE: Duration = days(365);
/// Both are backdated, because clocks may be wrong.
pub(super) const BACKDATED: Duration = days(1);

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

// The entries of the Secret.
const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const AUTHORITY_UNTIL: &str = "ca.until";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The end of a certificate in PEM.
const END: &str = "-----END CERTIFICATE-----\n";

/// The content of the Secret, as text.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::admission) struct Material {
    /// The trusted authorities, in PEM: the newest, which the key belongs to, and older ones whose certificates may
    /// still be served.
    authorities: Vec<String>,
    authority_key: String,
    /// When the newest authority expires. It is stored separately, because nothing else here parses X.509.
    authority_until: Tick,
    certificate: String,
    key: String,
}

impl Material {
    /// Creates an authority and a certificate for `names`.
    ///
    /// # Errors
    ///
    /// Returns an error if a name is not valid in a certificate, or if there are no random numbers.
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

    /// Returns the same with a new authority; the certificate is still that of the previous one.
    pub(super) fn with_authority(&self, now: Tick) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let until = now.after(AUTHORITY_LIFE);
        let mut params = authority();
        valid(&mut params, now, until);
        let mut authorities = vec![params.self_signed(&key)?.pem().replace('\r', "")];
        authorities.extend_from_slice(&self.authorities);
        Ok(Self { authorities, authority_key: key.serialize_pem(), authority_until: until, ..self.clone() })
    }

    /// Returns the same with a new certificate by the newest authority. Older authorities are removed once the
    /// replaced certificate does not need them.
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

    /// Reads `secret`; returns `None` if it is incomplete.
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

    /// Returns the data for a Secret.
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

    /// Returns every authority that the API server should trust.
    pub(in crate::admission) fn bundle(&self) -> String {
        self.authorities.concat()
    }

    /// Returns the certificate to serve, or `None` if it is unusable.
    pub(in crate::admission) fn certified_key(&self) -> Option<CertifiedKey> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).ok()?;
        CertifiedKey::from_der(vec![self.leaf()?], key, &provider()).ok()
    }

    /// Returns when the newest authority expires.
    pub(super) fn authority_until(&self) -> Tick {
        self.authority_until
    }

    /// Returns whether a client that trusts these authorities accepts the certificate for `name` at the given time.
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

    /// Returns whether certificates issued with the key would be trusted: the key must match the newest authority's
    /// certificate.
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

/// Which authorities are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Newest,
    Any,
}

/// Parameters that are the same for all authorities, so that one can issue certificates again from its key alone.
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

/// Makes the certificate valid from just before `now` until `until`.
fn valid(params: &mut CertificateParams, now: Tick, until: Tick) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.before(BACKDATED).since_epoch();
    params.not_after = epoch + until.since_epoch();
}
