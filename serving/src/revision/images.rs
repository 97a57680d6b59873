//! The images of a Revision, and their digests.

use std::collections::BTreeMap;

use crate::{
    api::{Container, ContainerStatus, Revision},
    config::Config,
    image::Image,
};

/// What is known of the digests of one Revision's images. An image that is not in here is still being resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images(BTreeMap<String, Result<String, String>>);

impl Images {
    /// Records the image by digest, as `repository@sha256:…`, for the text `image` of the spec.
    pub fn resolve(&mut self, image: &str, by_digest: String) {
        self.0.insert(image.to_owned(), Ok(by_digest));
    }

    /// Returns whether the digest of `image` is known.
    pub fn knows(&self, image: &str) -> bool {
        self.0.get(image).is_some_and(Result::is_ok)
    }

    /// Records why the digest of `image` could not be found, in one sentence.
    pub fn fail(&mut self, image: &str, why: String) {
        self.0.insert(image.to_owned(), Err(why));
    }
}

/// The digests of all images of a Revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Digests {
    /// Not all of them are known.
    Pending,
    /// One of them cannot be found.
    Missing {
        /// The image, as in the spec.
        image: String,
        /// The reason.
        why: String,
    },
    /// All of them are known. The digest of an image that is not resolved is empty.
    Known {
        /// Those of the containers.
        containers: Vec<ContainerStatus>,
        /// Those of the init containers.
        init_containers: Vec<ContainerStatus>,
    },
}

/// Returns the images of a Revision whose digests must be asked for, by their text in the spec: those that have no
/// digest, whose registry is not excluded from this, and that the Revision's status does not have yet.
pub fn images_of(revision: &Revision, config: &Config) -> BTreeMap<String, Image> {
    let (spec, status) = (&revision.spec, revision.status.clone().unwrap_or_default());
    let containers = open(&spec.containers, &status.container_statuses);
    let init_containers = open(&spec.init_containers, &status.init_container_statuses);
    let texts = containers.iter().chain(init_containers).filter_map(|container| container.image.as_deref());
    let images = texts.filter_map(|text| Some((text.to_owned(), Image::parse(text).ok()?)));
    images.filter(|(_, image)| is_resolved(image, config)).collect()
}

/// Returns what is known of the digests of a Revision. Those in its status stay for ever.
pub(super) fn digests(revision: &Revision, images: &Images, config: &Config) -> Digests {
    let (spec, status) = (&revision.spec, revision.status.clone().unwrap_or_default());
    let mut pending = false;
    let mut of = |containers: &[Container], known: &[ContainerStatus]| {
        if open(containers, known).is_empty() {
            return Ok(known.to_vec());
        }
        let mut statuses = Vec::with_capacity(containers.len());
        for container in containers {
            match digest(container, images, config) {
                Some(Ok(image_digest)) => {
                    statuses.push(ContainerStatus { name: container.name.clone(), image_digest });
                }
                Some(Err(why)) => {
                    return Err(Digests::Missing { image: container.image.clone().unwrap_or_default(), why });
                }
                None => pending = true,
            }
        }
        Ok(statuses)
    };
    let containers = of(&spec.containers, &status.container_statuses);
    let init_containers = of(&spec.init_containers, &status.init_container_statuses);
    match (containers, init_containers) {
        (Err(missing), _) | (_, Err(missing)) => missing,
        _ if pending => Digests::Pending,
        (Ok(containers), Ok(init_containers)) => Digests::Known { containers, init_containers },
    }
}

/// Returns the containers if `known` does not have their digests.
fn open<'a>(containers: &'a [Container], known: &[ContainerStatus]) -> &'a [Container] {
    let names = containers.iter().map(|container| &container.name);
    if names.eq(known.iter().map(|status| &status.name)) { &[] } else { containers }
}

fn is_resolved(image: &Image, config: &Config) -> bool {
    image.digest.is_none() && !config.deployment.skipped_registries.contains(&image.registry)
}

fn digest(container: &Container, images: &Images, config: &Config) -> Option<Result<String, String>> {
    let text = container.image.as_deref().unwrap_or_default();
    match Image::parse(text) {
        Err(why) => Some(Err(why)),
        Ok(image) if is_resolved(&image, config) => images.0.get(text).cloned(),
        Ok(image) => Some(Ok(if image.digest.is_some() { text.to_owned() } else { String::new() })),
    }
}
