//! Which Revision belongs to the present generation of a Configuration.

use kube::ResourceExt;

use super::{children, generation_of, is_child};
use crate::{
    api::{Configuration, Revision},
    keys, names,
    seen::Seen,
};

/// The Revision of a Configuration's present generation.
#[derive(Clone, Debug)]
pub(crate) enum Current<'a> {
    /// It exists.
    Exists(&'a Revision),
    /// It is to be created under this name.
    Missing(String),
    /// Its name is free soon: the object that has it is being deleted, or the Configuration that it belonged to was.
    Leaving,
    /// Its name belongs to something else.
    Taken(String),
    /// The template says nothing of what to run.
    Impossible,
}

/// Returns the Revision of the present generation of `configuration`.
///
/// If the template names it, the name decides: the Revision must be of this generation, or else run the same, as after
/// a user took an old template again. Otherwise its label decides. The label alone would be believed too much in a
/// Revision that was made by an earlier Configuration of the same name and survived it; that one must run the same.
pub(crate) fn current<'a>(configuration: &'a Configuration, seen: &'a Seen) -> Current<'a> {
    let Some(template) = &configuration.spec.template else { return Current::Impossible };
    let Some(spec) = &template.spec else { return Current::Impossible };
    let namespace = configuration.metadata.namespace.as_deref().unwrap_or_default();
    let generation = configuration.metadata.generation.unwrap_or_default();
    let uid = configuration.metadata.uid.as_ref();
    let is_of_generation = |revision: &Revision| generation_of(revision) == generation;
    let was_made_here = |revision: &Revision| {
        is_of_generation(revision) && revision.labels().get(keys::CONFIGURATION_UID) == uid && uid.is_some()
    };
    let runs_it = |revision: &Revision| was_made_here(revision) || revision.spec == *spec;

    let chosen = chosen_name(configuration);
    let name = revision_name(configuration);
    let holder = seen.revisions.get(namespace, &name).map(AsRef::as_ref);
    let may_be = |revision: &Revision| chosen.is_some() || is_of_generation(revision);
    let mut found = holder.filter(|one| is_child(configuration, one) && may_be(one) && runs_it(one));
    if found.is_none() && chosen.is_none() {
        found = children(configuration, seen).find(|one| is_of_generation(one) && runs_it(one));
    }
    match (found, holder) {
        (Some(found), _) if found.metadata.deletion_timestamp.is_some() => Current::Leaving,
        (Some(found), _) => Current::Exists(found),
        (None, Some(holder)) if is_leaving(holder, seen) => Current::Leaving,
        (None, Some(_)) => Current::Taken(name),
        (None, None) => Current::Missing(name),
    }
}

/// Returns the name of the present generation's Revision.
pub(crate) fn revision_name(configuration: &Configuration) -> String {
    let generation = configuration.metadata.generation.unwrap_or_default();
    let generated = || names::child(&configuration.name_any(), &format!("-{generation:05}"));
    chosen_name(configuration).map_or_else(generated, str::to_owned)
}

/// Returns the name that the user chose for the Revision.
fn chosen_name(configuration: &Configuration) -> Option<&str> {
    let metadata = configuration.spec.template.as_ref()?.metadata.as_ref()?;
    metadata.name.as_deref().filter(|name| !name.is_empty())
}

/// Returns whether Kubernetes is about to delete `revision`: it says so, or the Configuration that controls it is gone.
fn is_leaving(revision: &Revision, seen: &Seen) -> bool {
    let namespace = revision.metadata.namespace.as_deref().unwrap_or_default();
    let controller = crate::seen::owner(&revision.metadata);
    revision.metadata.deletion_timestamp.is_some()
        || controller.is_some_and(|uid| {
            let mut others = seen.configurations.of_namespace(namespace);
            !others.any(|other| other.metadata.uid.as_ref() == Some(&uid))
        })
}
