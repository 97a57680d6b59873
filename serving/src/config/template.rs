//! The part of Go's templates that names are written in.

use std::collections::BTreeMap;

/// What a template may refer to. What a template's setting does not offer is empty.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// `{{.Name}}`.
    pub name: &'a str,
    /// `{{.Namespace}}`.
    pub namespace: &'a str,
    /// `{{.Domain}}`.
    pub domain: &'a str,
    /// `{{.Tag}}`.
    pub tag: &'a str,
    /// `{{.Labels}}`.
    pub labels: &'a BTreeMap<String, String>,
    /// `{{.Annotations}}`.
    pub annotations: &'a BTreeMap<String, String>,
}

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Returns the template that `text` is, which is known to be valid.
    pub(super) fn text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns the text of the template with `values`.
    ///
    /// # Errors
    ///
    /// Returns an error if it refers to a value that is not there.
    pub fn render(&self, values: &Values<'_>) -> Result<String, String> {
        let Values { name, namespace, domain, tag, .. } = values;
        let text = self.0.replace("{{.Name}}", name).replace("{{.Namespace}}", namespace);
        Ok(text.replace("{{.Domain}}", domain).replace("{{.Tag}}", tag))
    }
}
