//! References of images: `shop/cart:v1`, `registry.example.com:5000/shop/cart@sha256:…`.
//!
//! What Kubernetes takes is taken here: parts that are missing have Docker's defaults.

use std::fmt;

/// The registry of images that name none, and of `docker.io`.
const DOCKER_HUB: &str = "index.docker.io";
/// The other name of [`DOCKER_HUB`], by which nobody serves images.
const DOCKER_HUB_ALIAS: &str = "docker.io";
/// Where Docker Hub keeps images whose name has no `/`.
const OFFICIAL: &str = "library";
/// The tag of images that name none.
const LATEST: &str = "latest";
/// The only algorithm of digests that registries agree on.
const SHA256: &str = "sha256:";

/// A reference of an image, in full.
///
/// Its text is `registry/repository:tag`, or `registry/repository@digest` if there is a digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Image {
    /// The registry's host, with its port if the reference has one.
    pub registry: String,
    /// The repository within the registry.
    pub repository: String,
    /// The tag; `latest` if the reference has none.
    pub tag: String,
    /// The digest, as `sha256:` and 64 hexadecimal digits. It has precedence over the tag.
    pub digest: Option<String>,
}

impl Image {
    /// Parses a reference.
    ///
    /// # Errors
    ///
    /// Returns the reason, as one line of text, if it is not a reference.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parts(text).ok_or_else(|| format!("could not parse reference: {text}"))
    }

    fn parts(text: &str) -> Option<Self> {
        let (base, digest) = match text.split_once('@') {
            None => (text, None),
            Some((base, digest)) => (base, Some(digest.to_owned())),
        };
        if digest.as_ref().is_some_and(|digest| !is_digest(digest)) {
            return None;
        }
        let (name, tag) = split_tag(base);
        if !tag.is_empty() && !is_tag(tag) {
            return None;
        }
        let (registry, repository) = split_registry(name);
        if !is_repository(repository) || !is_registry(registry) {
            return None;
        }
        let registry = if ["", DOCKER_HUB_ALIAS].contains(&registry) { DOCKER_HUB } else { registry };
        let is_official = registry == DOCKER_HUB && !repository.contains('/');
        Some(Self {
            registry: registry.to_owned(),
            repository: if is_official { format!("{OFFICIAL}/{repository}") } else { repository.to_owned() },
            tag: if tag.is_empty() { LATEST } else { tag }.to_owned(),
            digest,
        })
    }

    /// Returns the repository with its registry: `index.docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns this image by a digest, such as the one that a registry has for its tag.
    #[must_use]
    pub fn by_digest(&self, digest: &str) -> Self {
        Self { digest: Some(digest.to_owned()), ..self.clone() }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, repository, tag, digest } = self;
        match digest {
            Some(digest) => write!(f, "{registry}/{repository}@{digest}"),
            None => write!(f, "{registry}/{repository}:{tag}"),
        }
    }
}

/// Splits off the tag. What follows the last colon is a port if it has a `/`.
fn split_tag(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (text, ""),
    }
}

/// Splits off the registry. The first part of a path is one if it looks like a host with a domain or a port.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) => (first, rest),
        _ => ("", name),
    }
}

fn is_digest(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix(SHA256).is_some_and(|hex| hex.len() == 64 && hex.bytes().all(is_hex))
}

fn is_tag(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn is_repository(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-./".contains(&byte);
    let has_no_gap = text.split('/').all(|part| !part.is_empty());
    (2..=255).contains(&text.len()) && text.bytes().all(is_allowed) && has_no_gap
}

/// Returns whether `text` is empty, or a host that is not empty, perhaps an IPv6 address in brackets, and perhaps a
/// port.
fn is_registry(text: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return false };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (after.is_empty() || after.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (text.is_empty() || !host.is_empty()) && host.bytes().all(is_allowed) && is_port(port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn missing_parts_have_dockers_defaults() {
        for (text, full) in [
            ("nginx", "index.docker.io/library/nginx:latest"),
            ("nginx:1.27", "index.docker.io/library/nginx:1.27"),
            ("shop/cart", "index.docker.io/shop/cart:latest"),
            ("docker.io/nginx", "index.docker.io/library/nginx:latest"),
            ("index.docker.io/library/nginx", "index.docker.io/library/nginx:latest"),
            ("localhost/shop", "index.docker.io/localhost/shop:latest"),
            ("gcr.io/cart", "gcr.io/cart:latest"),
            ("localhost:5000/cart:v1", "localhost:5000/cart:v1"),
            ("reg:5000/a/b", "reg:5000/a/b:latest"),
            ("reg:/a/b", "reg:/a/b:latest"),
            ("[::1]:5000/a/b", "[::1]:5000/a/b:latest"),
            ("ko.local/xy:", "ko.local/xy:latest"),
            ("a/b_c-d.e:V1_.-", "index.docker.io/a/b_c-d.e:V1_.-"),
        ] {
            assert_eq!(Image::parse(text).map(|image| image.to_string()), Ok(full.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_digest_stands_in_place_of_the_tag() {
        for (text, name, tag) in
            [("nginx", "index.docker.io/library/nginx", "latest"), ("reg:5000/a/b:v1", "reg:5000/a/b", "v1")]
        {
            let by_digest = Image::parse(&format!("{text}@{DIGEST}")).unwrap();
            assert_eq!(by_digest.to_string(), format!("{name}@{DIGEST}"));
            assert_eq!((by_digest.name().as_str(), by_digest.tag.as_str()), (name, tag));
            assert_eq!(Image::parse(text).unwrap().by_digest(DIGEST), by_digest);
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let long = format!("a/{}", "b".repeat(254));
        let long_tag = format!("a/b:{}", "v".repeat(129));
        let texts = [
            "",
            "a",
            ":v1",
            "@",
            "Nginx",
            "a b",
            "ab:ta g",
            "ab@v1",
            "ab@sha256:12",
            "ab@sha512:0123",
            &format!("ab@{}", DIGEST.to_uppercase()),
            &format!("ab@{DIGEST}@{DIGEST}"),
            "reg:port/ab",
            ":5000/ab",
            "[::1/ab",
            "[::g]:1/ab",
            "ex ample.com/ab",
            "bücher.example/ab",
            "imagé",
            "http://reg/ab",
            "reg:5000/",
            "a/b/",
            "a//b",
            &long,
            &long_tag,
        ];
        for text in texts {
            let reason = format!("could not parse reference: {text}");
            assert_eq!(Image::parse(text), Err(reason), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_full_form_is_a_reference_of_the_same_image(
            text in "([a-z.:\\[\\]]{0,6}/)?[a-z./]{0,8}(:[a-zA-Z0-9.]{0,4})?(@sha256:[0-9a-f]{64})?",
        ) {
            if let Ok(image) = Image::parse(&text) {
                let again = Image::parse(&image.to_string()).unwrap();
                prop_assert_eq!((again.name(), &again.digest), (image.name(), &image.digest));
            }
        }

        #[test]
        fn any_text_has_an_answer(text in "\\PC{0,24}") {
            let _ = Image::parse(&text);
        }
    }
}
