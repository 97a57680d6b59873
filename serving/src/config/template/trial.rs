//! Tries out the templates of settings on an object that does not exist: a mistake shows before an object has it.

use std::collections::BTreeMap;

use ebb_core::Host;

use super::{Entries, Field, Template, Values, references::References};

const NAME: &str = "foo";
const NAMESPACE: &str = "bar";
const DOMAIN: &str = "baz.com";
const TAG: &str = "v2";
/// The value of each label and annotation that a template refers to.
const ENTRY: &str = "qux";

/// What a setting offers to its template.
struct Offer {
    fields: &'static [Field],
    has_entries: bool,
}

/// Reads a template of hosts.
///
/// # Errors
///
/// Returns what is wrong, phrased to follow the text of the template.
pub(in crate::config) fn host(text: &str) -> Result<Template, String> {
    let offer = Offer { fields: &[Field::Name, Field::Namespace, Field::Domain], has_entries: true };
    let (template, bare) =
        read(text, &offer, |made| made.parse::<Host>().is_ok_and(|host| host.parent().is_none()))?;
    // Without labels and annotations, a part may be empty, as between two dots; a path or a port is none of that.
    let may_be_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if bare.is_empty() || !bare.chars().all(may_be_host) {
        return Err(format!("makes {bare:?} of a Route without labels and annotations, which is not a host"));
    }
    Ok(template)
}

/// Reads a template of the names of tags.
///
/// # Errors
///
/// As [`host`].
pub(in crate::config) fn tag(text: &str) -> Result<Template, String> {
    let offer = Offer { fields: &[Field::Name, Field::Tag], has_entries: false };
    read(text, &offer, is_label).map(|(template, _)| template)
}

/// Reads a template of the names of containers.
///
/// # Errors
///
/// As [`host`].
pub(in crate::config) fn container_name(text: &str) -> Result<Template, String> {
    let offer = Offer { fields: &[Field::Name, Field::Namespace], has_entries: true };
    read(text, &offer, is_label).map(|(template, _)| template)
}

fn is_label(text: &str) -> bool {
    !text.contains(['.', '*']) && text.parse::<Host>().is_ok()
}

/// Reads a template, and returns it with what it makes of an object without labels and annotations. What it makes of
/// one that has all of them must be valid.
fn read(text: &str, offer: &Offer, is_valid: impl Fn(&str) -> bool) -> Result<(Template, String), String> {
    let template =
        Template::parse(text).map_err(|why| format!("is not a template that can be used: {why}"))?;
    let references = References::of(&template);
    if let Some(field) = references.fields.iter().find(|field| !offer.fields.contains(field)) {
        return Err(format!("refers to .{}, which does not exist here", field.name()));
    }
    if let Some((of, _)) = references.entries.first().filter(|_| !offer.has_entries) {
        return Err(format!("refers to .{}, which does not exist here", of.name()));
    }
    let with_all = |wanted: Entries| -> BTreeMap<String, String> {
        let entries = references.entries.iter().filter(|(of, _)| *of == wanted);
        entries.map(|(_, key)| ((*key).to_owned(), ENTRY.to_owned())).collect()
    };
    let render = |labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>| {
        let values =
            Values { name: NAME, namespace: NAMESPACE, domain: DOMAIN, tag: TAG, labels, annotations };
        template.render(&values).map_err(|why| format!("cannot be used for each object: {why}"))
    };
    let made = render(&with_all(Entries::Labels), &with_all(Entries::Annotations))?;
    if !is_valid(&made) {
        return Err(format!("makes {made:?}, which is not valid"));
    }
    let none = BTreeMap::new();
    let bare = render(&none, &none)?;
    Ok((template, bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_that_make_valid_names_are_accepted() {
        for text in [
            "{{.Name}}.{{.Namespace}}.{{.Domain}}",
            "{{.Name}}-{{.Namespace}}.{{ index .Annotations \"sub\"}}.{{.Domain}}",
            "{{if .Labels.team}}{{.Labels.team}}.{{end}}{{.Name}}.{{.Domain}}",
            "only.one.host",
        ] {
            assert!(host(text).is_ok(), "{text}: {:?}", host(text));
        }
        for text in
            ["{{.Tag}}-{{.Name}}", "{{.Name}}-{{.Tag}}", "{{if eq .Tag \"v1\"}}one{{else}}{{.Tag}}{{end}}"]
        {
            assert!(tag(text).is_ok(), "{text}: {:?}", tag(text));
        }
        for text in ["user-container", "{{.Name}}", "{{.Namespace}}-{{index .Labels \"app\"}}"] {
            assert!(container_name(text).is_ok(), "{text}: {:?}", container_name(text));
        }
    }

    #[test]
    fn what_is_wrong_with_a_template_of_hosts_is_said() {
        for (text, why) in [
            ("", r#"makes "", which is not valid"#),
            ("{{.Name}}/{{.Namespace}}", r#"makes "foo/bar", which is not valid"#),
            ("{{.Name}}.{{.Domain}}:8080", r#"makes "foo.baz.com:8080", which is not valid"#),
            ("*.{{.Domain}}", r#"makes "*.baz.com", which is not valid"#),
            ("{{.Name}}_{{.Domain}}", r#"makes "foo_baz.com", which is not valid"#),
            (
                "{{.Name}}.{{.Labels.team}}.{{.Domain}}",
                "cannot be used for each object: there is no team in .Labels",
            ),
            (
                "{{if .Labels.a}}a.b{{else}}a/b{{end}}",
                r#"makes "a/b" of a Route without labels and annotations, which is not a host"#,
            ),
            (
                "{{if .Labels.a}}a.b{{end}}",
                r#"makes "" of a Route without labels and annotations, which is not a host"#,
            ),
            ("{{.Tag}}.{{.Domain}}", "refers to .Tag, which does not exist here"),
            ("{{.Name", "is not a template that can be used: {{ has no }}"),
        ] {
            assert_eq!(host(text).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_other_templates_is_said() {
        for (text, why) in [
            ("{{.Tag}}.{{.Name}}", r#"makes "v2.foo", which is not valid"#),
            ("{{.Tag}}-{{.Namespace}}", "refers to .Namespace, which does not exist here"),
            ("{{index .Labels \"a\"}}", "refers to .Labels, which does not exist here"),
        ] {
            assert_eq!(tag(text).unwrap_err(), why, "{text}");
        }
        for (text, why) in [
            ("User", r#"makes "User", which is not valid"#),
            ("{{.Domain}}", "refers to .Domain, which does not exist here"),
            ("{{.GenerateName}}", NOT_A_FIELD),
        ] {
            assert_eq!(container_name(text).unwrap_err(), why, "{text}");
        }
    }

    const NOT_A_FIELD: &str = "is not a template that can be used: .GenerateName does not exist; want .Name, .Namespace, \
                               .Domain, .Tag, .Labels.KEY or .Annotations.KEY";
}
