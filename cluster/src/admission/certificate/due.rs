//! Decides which parts of the certificate to renew, and when.

use ebb_core::Tick;

use super::material::{AUTHORITY_LIFE, BACKDATED, By, CERTIFICATE_LIFE, Material};

/// Both are renewed when a third of their life is left, which gives people months to notice if it fails.
const LEFT: u32 = 3;

/// What to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Everything, because nothing usable exists.
    Everything,
    /// A new authority, to be trusted beside the current one.
    Authority,
    /// A new certificate, issued by the newest authority.
    Certificate,
}

/// Returns what to create at `now`. `found` is the current material for `name`. Its authorities are `spread` if every
/// API server trusts them.
pub(super) fn due(found: Option<&Material>, name: &str, now: Tick, spread: bool) -> Due {
    let Some(found) = found else { return Due::Everything };
    // Expired, or created by a clock that was ahead: the API server trusts neither.
    let from_the_future = found.authority_until() > now.after(AUTHORITY_LIFE + BACKDATED);
    if found.authority_until() <= now || from_the_future {
        return Due::Everything;
    }
    if found.authority_until() <= now.after(AUTHORITY_LIFE / LEFT) {
        return Due::Authority;
    }
    if found.is_believed(By::Newest, name, now)
        && found.is_believed(By::Newest, name, now.after(CERTIFICATE_LIFE / LEFT))
    {
        return Due::Nothing;
    }
    // A certificate that works by an older authority is not replaced by one that may not work yet.
    if found.is_believed(By::Any, name, now) && !found.is_believed(By::Newest, name, now) && !spread {
        return Due::Nothing;
    }
    Due::Certificate
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "ebb-autoscaler.ebb-system.svc";

    fn names() -> Vec<String> {
        vec![NAME.to_owned()]
    }

    fn day(day: u64) -> Tick {
        // Some day in 2026.
        Tick::from_secs(1_780_000_000 + day * 86_400)
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        let made = Material::generate(&names(), day(0)).unwrap();
        for (at, spread, wanted) in [
            (day(0), true, Due::Nothing),
            (day(0), false, Due::Nothing),
            (day(243), true, Due::Nothing),
            (day(244), true, Due::Certificate),
            // The authority of this certificate is trusted already.
            (day(244), false, Due::Certificate),
            (day(366), false, Due::Certificate),
        ] {
            assert_eq!(due(Some(&made), NAME, at, spread), wanted, "{at:?}");
        }
        let renewed = made.with_certificate(&names(), day(244)).unwrap();
        assert_eq!(due(Some(&renewed), NAME, day(244), true), Due::Nothing);
        assert_eq!(renewed.bundle(), made.bundle(), "the API server need not be told");
    }

    #[test]
    fn a_new_authority_is_believed_before_it_is_used() {
        let old = Material::generate(&names(), day(0)).unwrap();
        // The certificates were renewed all the time.
        let at = day(2500);
        let old = old.with_certificate(&names(), at).unwrap();
        assert_eq!(due(Some(&old), NAME, at, true), Due::Authority);

        let both = old.with_authority(at).unwrap();
        assert_eq!(both.bundle().matches("BEGIN").count(), 2);
        assert!(both.bundle().ends_with(&old.bundle()));
        assert_eq!(due(Some(&both), NAME, at, false), Due::Nothing, "what is served still works");
        assert_eq!(due(Some(&both), NAME, at, true), Due::Certificate);

        let new = both.with_certificate(&names(), at).unwrap();
        assert!(new.is_believed(By::Newest, NAME, at));
        assert_eq!(new.bundle(), both.bundle(), "another replica may still serve by the old one");
        let later = day(2800);
        assert_eq!(due(Some(&new), NAME, at, true), Due::Nothing);
        let next = new.with_certificate(&names(), later).unwrap();
        assert_eq!(next.bundle().matches("BEGIN").count(), 1, "the old one is forgotten");
        assert!(next.is_believed(By::Any, NAME, later));
    }

    #[test]
    fn what_nobody_believes_is_replaced_at_once() {
        let made = Material::generate(&names(), day(0)).unwrap();
        assert_eq!(due(None, NAME, day(0), true), Due::Everything);
        assert_eq!(due(Some(&made), NAME, day(3650), true), Due::Everything);
        assert_eq!(due(Some(&made), "other.ebb-system.svc", day(0), false), Due::Certificate);
        // Created by a clock that was far ahead.
        let ahead = Material::generate(&names(), day(100)).unwrap();
        assert_eq!(due(Some(&ahead), NAME, day(0), true), Due::Everything);
        // An authority was added, and then no program ran until the certificate had expired.
        let late = made.with_authority(day(2500)).unwrap();
        assert_eq!(due(Some(&late), NAME, day(2500), false), Due::Certificate);
    }

    #[test]
    fn a_secret_is_read_back_whole_or_not_at_all() {
        let made = Material::generate(&names(), day(0)).unwrap().with_authority(day(1)).unwrap();
        let secret = |data| k8s_openapi::api::core::v1::Secret { data: Some(data), ..Default::default() };
        let read = Material::read(&secret(made.to_data())).unwrap();
        assert!(read == made);
        let other = Material::generate(&names(), day(0)).unwrap().to_data();
        for key in made.to_data().keys() {
            let mut data = made.to_data();
            data.remove(key);
            assert!(Material::read(&secret(data.clone())).is_none(), "without {key}");
            data.insert(key.clone(), k8s_openapi::ByteString(b"nonsense".to_vec()));
            assert!(Material::read(&secret(data)).is_none(), "nonsense in {key}");
        }
        let mut mixed = made.to_data();
        mixed.insert("tls.key".to_owned(), other["tls.key"].clone());
        assert!(Material::read(&secret(mixed)).is_none(), "a key of another certificate");
        let mut foreign = made.to_data();
        foreign.insert("ca.crt".to_owned(), other["ca.crt"].clone());
        assert!(Material::read(&secret(foreign)).is_none(), "an authority of another key");
        assert!(Material::read(&secret([].into())).is_none());
    }
}
