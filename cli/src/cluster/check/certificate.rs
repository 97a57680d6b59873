//! Reads when a certificate expires. Only one date is needed, and reading all of X.509 would take ten crates,
//! so it is parsed here. Unexpected content gives `None`.

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, the tag of the version, which is left out for the first one.
const VERSION: u8 = 0xa0;

/// Returns when the first certificate of `pem` expires.
pub(crate) fn not_after(pem: &[u8]) -> Option<Timestamp> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let (certificate, _) = sequence(&certificate)?;
    let (signed, _) = sequence(certificate)?;
    let rest = match element(signed)? {
        (VERSION, _, rest) => rest,
        _ => signed,
    };
    let (_, _serial, rest) = element(rest)?;
    let (_algorithm, rest) = sequence(rest)?;
    let (_issuer, rest) = sequence(rest)?;
    let (validity, _) = sequence(rest)?;
    let (_, _not_before, rest) = element(validity)?;
    let (kind, not_after, _) = element(rest)?;
    let text = std::str::from_utf8(not_after).ok()?;
    match kind {
        // RFC 5280: two digits stand for 1950 to 2049.
        UTC_TIME => moment(&format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" })),
        GENERALIZED_TIME => moment(text),
        _ => None,
    }
}

/// `20261122093000Z`.
fn moment(text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.len() == 14 && digits.is_ascii())?;
    let part = |from: usize, to: usize| digits.get(from..to);
    format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    )
    .parse()
    .ok()
}

fn sequence(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, ..)| *tag == SEQUENCE).map(|(_, inside, rest)| (inside, rest))
}

/// Returns the tag and the content of the first element, and the rest.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // The first byte says how many bytes the length has; no certificate needs four.
        let (number, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(number, _)| number.len() <= 4)?;
        (number.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (inside, rest) = rest.split_at_checked(length)?;
    Some((tag, inside, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32) -> String {
        let mut params = CertificateParams::new(["ebb-autoscaler.ebb-system.svc".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 3, 4);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn the_end_is_read_in_either_form() {
        for (year, end) in [(2031, "2031-03-04T00:00:00Z"), (2075, "2075-03-04T00:00:00Z")] {
            assert_eq!(not_after(certificate(year).as_bytes()), Some(end.parse().unwrap()));
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        assert_eq!(not_after(b""), None);
        assert_eq!(not_after(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), None);
        let whole = CertificateDer::from_pem_slice(certificate(2031).as_bytes()).unwrap().to_vec();
        for length in 0..whole.len().min(300) {
            let _ = element(&whole[..length]).map(|(_, inside, _)| sequence(inside));
        }
    }
}
