use std::borrow::Cow;

use kube::{
    Resource,
    core::{ApiResource, DynamicResourceScope, ObjectMeta},
};
use serde::Deserialize;

/// An object of the API of which only the metadata and what `Spec` and `Status` name is read. A whole pod would take
/// ten times the memory, and a megabyte more of program.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound(deserialize = "Spec: Deserialize<'de> + Default, Status: Deserialize<'de> + Default"))]
pub(crate) struct Seen<Spec, Status> {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: Spec,
    #[serde(default)]
    pub(crate) status: Status,
}

impl<Spec, Status> Resource for Seen<Spec, Status> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(api: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&api.kind)
    }

    fn group(api: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&api.group)
    }

    fn version(api: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&api.version)
    }

    fn api_version(api: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&api.api_version)
    }

    fn plural(api: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&api.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
