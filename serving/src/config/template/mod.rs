//! The part of Go's templates that names are written in: text, fields, entries of labels and annotations, `if`, and
//! the functions `index`, `eq`, `ne`, `and`, `or` and `not`. There are no pipelines, variables and loops.

mod lex;
mod parse;
mod references;
pub(super) mod trial;

use std::collections::BTreeMap;

/// The longest text of a template, in bytes.
const LONGEST: usize = 4096;
/// The longest result, in bytes: many times what the name of a host may have.
const LONGEST_RESULT: usize = 4096;

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
pub struct Template(Vec<Node>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Text(String),
    Print(Expression),
    /// The nodes of the first branch whose condition is not empty.
    Choice {
        branches: Vec<(Expression, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    Text(String),
    Field(Field),
    Entry {
        of: Entries,
        key: String,
        /// Whether it is written `.Labels.key`: then printing it without an entry is an error. With `index`, it is
        /// empty.
        is_needed: bool,
    },
    /// Whether the left text is one of the right ones.
    Equal(Box<Expression>, Vec<Expression>),
    /// The first value that is not empty, or the last one.
    Or(Vec<Expression>),
    /// The first value that is empty, or the last one.
    And(Vec<Expression>),
    Not(Box<Expression>),
}

/// A value that each object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Name,
    Namespace,
    Domain,
    Tag,
}

impl Field {
    const ALL: [Self; 4] = [Self::Name, Self::Namespace, Self::Domain, Self::Tag];

    fn name(self) -> &'static str {
        match self {
            Self::Name => "Name",
            Self::Namespace => "Namespace",
            Self::Domain => "Domain",
            Self::Tag => "Tag",
        }
    }
}

/// A map of values that an object may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entries {
    Labels,
    Annotations,
}

impl Entries {
    const ALL: [Self; 2] = [Self::Labels, Self::Annotations];

    fn name(self) -> &'static str {
        match self {
            Self::Labels => "Labels",
            Self::Annotations => "Annotations",
        }
    }
}

/// What an expression is with certain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Text(&'a str),
    Truth(bool),
    /// An entry that is needed and not there.
    Missing(Entries, &'a str),
}

impl Value<'_> {
    fn is_empty(self) -> bool {
        matches!(self, Self::Text("") | Self::Truth(false) | Self::Missing(..))
    }

    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Truth(true) => "true",
            Self::Truth(false) => "false",
            Self::Missing(..) => "",
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// Returns in words what is not in the supported part of the language, or too large.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it has {} bytes, more than {LONGEST}", text.len()));
        }
        parse::parse(lex::pieces(text)?).map(Self)
    }

    /// Returns the template that `text` is; what is not a template stands for itself.
    pub(super) fn text(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| Self(vec![Node::Text(text.to_owned())]))
    }

    /// Returns the text of the template with `values`.
    ///
    /// # Errors
    ///
    /// Returns an error if it prints `.Labels.KEY` or `.Annotations.KEY` and there is no such entry, or if the text is
    /// longer than 4096 bytes.
    pub fn render(&self, values: &Values<'_>) -> Result<String, String> {
        let mut text = String::new();
        render(&self.0, values, &mut text)?;
        Ok(text)
    }
}

fn render(nodes: &[Node], values: &Values<'_>, to: &mut String) -> Result<(), String> {
    for node in nodes {
        let part = match node {
            Node::Text(text) => text.as_str(),
            Node::Print(expression) => match expression.value(values) {
                Value::Missing(of, key) => return Err(format!("there is no {key} in .{}", of.name())),
                value => {
                    append(value.text(), to)?;
                    continue;
                }
            },
            Node::Choice { branches, otherwise } => {
                let chosen = branches.iter().find(|(condition, _)| !condition.value(values).is_empty());
                render(chosen.map_or(otherwise, |(_, nodes)| nodes), values, to)?;
                continue;
            }
        };
        append(part, to)?;
    }
    Ok(())
}

fn append(part: &str, to: &mut String) -> Result<(), String> {
    if to.len() + part.len() > LONGEST_RESULT {
        return Err(format!("the result is longer than {LONGEST_RESULT} bytes"));
    }
    to.push_str(part);
    Ok(())
}

impl Expression {
    fn value<'a>(&'a self, values: &Values<'a>) -> Value<'a> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Field(Field::Name) => Value::Text(values.name),
            Self::Field(Field::Namespace) => Value::Text(values.namespace),
            Self::Field(Field::Domain) => Value::Text(values.domain),
            Self::Field(Field::Tag) => Value::Text(values.tag),
            Self::Entry { of, key, is_needed } => {
                let entries = match of {
                    Entries::Labels => values.labels,
                    Entries::Annotations => values.annotations,
                };
                match entries.get(key) {
                    Some(text) => Value::Text(text),
                    None if *is_needed => Value::Missing(*of, key),
                    None => Value::Text(""),
                }
            }
            Self::Equal(left, right) => {
                let left = left.value(values);
                Value::Truth(right.iter().any(|right| right.value(values).text() == left.text()))
            }
            Self::Or(all) => Self::first(all, values, |value: Value<'_>| !value.is_empty()),
            Self::And(all) => Self::first(all, values, Value::is_empty),
            Self::Not(one) => Value::Truth(one.value(values).is_empty()),
        }
    }

    /// Returns the first value that is `wanted`, or else the last one.
    fn first<'a>(all: &'a [Self], values: &Values<'a>, wanted: impl Fn(Value<'a>) -> bool) -> Value<'a> {
        let mut last = Value::Text("");
        for one in all {
            last = one.value(values);
            if wanted(last) {
                break;
            }
        }
        last
    }

    /// Returns whether its value is a text whatever the values are.
    fn is_text(&self) -> bool {
        match self {
            Self::Text(_) | Self::Field(_) | Self::Entry { .. } => true,
            Self::Or(all) | Self::And(all) => all.iter().all(Self::is_text),
            Self::Equal(..) | Self::Not(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
