//! Who wrote an object.

use kube::core::ObjectMeta;

use crate::keys;

/// Signs a new object.
pub(super) fn created(metadata: &mut ObjectMeta, user: &str) {
    let annotations = metadata.annotations.get_or_insert_default();
    for key in [keys::CREATOR, keys::LAST_MODIFIER] {
        annotations.insert(key.to_owned(), user.to_owned());
    }
}

/// Signs an object that was `old`. `modifier` is who changed its spec, if that changed.
///
/// The creator stays who it was, also if the object was replaced by one that does not name it: a restored or replaced
/// object need not know who wrote it before.
pub(super) fn updated(metadata: &mut ObjectMeta, old: &ObjectMeta, modifier: Option<&str>) {
    let before = |key: &str| old.annotations.as_ref().and_then(|annotations| annotations.get(key));
    let last = modifier.or(before(keys::LAST_MODIFIER).map(String::as_str));
    for (key, user) in
        [(keys::CREATOR, before(keys::CREATOR).map(String::as_str)), (keys::LAST_MODIFIER, last)]
    {
        if let Some(user) = user {
            metadata.annotations.get_or_insert_default().insert(key.to_owned(), user.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn metadata(creator: Option<&str>, modifier: Option<&str>) -> ObjectMeta {
        let all = [(keys::CREATOR, creator), (keys::LAST_MODIFIER, modifier)];
        let all: BTreeMap<_, _> =
            all.into_iter().filter_map(|(key, user)| Some((key.to_owned(), user?.to_owned()))).collect();
        ObjectMeta { annotations: (!all.is_empty()).then_some(all), ..ObjectMeta::default() }
    }

    #[test]
    fn a_new_object_is_of_its_author_whatever_it_says() {
        let mut new = metadata(Some("somebody"), None);
        created(&mut new, "alice");
        assert_eq!(new, metadata(Some("alice"), Some("alice")));
    }

    #[test]
    fn an_object_keeps_its_creator_and_names_who_changed_its_spec_last() {
        let signed = metadata(Some("alice"), Some("bob"));
        for sent in [metadata(None, None), metadata(Some("carol"), Some("carol")), signed.clone()] {
            for (modifier, wanted) in [(None, "bob"), (Some("dave"), "dave")] {
                let mut new = sent.clone();
                updated(&mut new, &signed, modifier);
                assert_eq!(new, metadata(Some("alice"), Some(wanted)));
            }
        }
        let (mut new, unsigned) = (metadata(None, None), metadata(None, None));
        updated(&mut new, &unsigned, None);
        assert_eq!(new, unsigned);
    }
}
