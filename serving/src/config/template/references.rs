//! What a template refers to.

use std::collections::BTreeSet;

use super::{Entries, Expression, Field, Node, Template};

/// What a template refers to.
#[derive(Debug, Default)]
pub(super) struct References<'a> {
    pub(super) fields: BTreeSet<Field>,
    pub(super) entries: BTreeSet<(Entries, &'a str)>,
}

impl<'a> References<'a> {
    /// Returns what a template refers to, in all of its branches.
    pub(super) fn of(template: &'a Template) -> Self {
        let mut references = Self::default();
        references.add_nodes(&template.0);
        references
    }

    fn add_nodes(&mut self, nodes: &'a [Node]) {
        for node in nodes {
            match node {
                Node::Text(_) => {}
                Node::Print(expression) => self.add(expression),
                Node::Choice { branches, otherwise } => {
                    for (condition, nodes) in branches {
                        self.add(condition);
                        self.add_nodes(nodes);
                    }
                    self.add_nodes(otherwise);
                }
            }
        }
    }

    fn add(&mut self, expression: &'a Expression) {
        match expression {
            Expression::Text(_) => {}
            Expression::Field(field) => {
                self.fields.insert(*field);
            }
            Expression::Entry { of, key, .. } => {
                self.entries.insert((*of, key));
            }
            Expression::Not(one) => self.add(one),
            Expression::Or(all) | Expression::And(all) => {
                for one in all {
                    self.add(one);
                }
            }
            Expression::Equal(left, right) => {
                self.add(left);
                for one in right {
                    self.add(one);
                }
            }
        }
    }
}
