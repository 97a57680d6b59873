//! The container of a revision, as far as one machine can run it.

use std::path::{Path, PathBuf};

use ebb_serving::api::{Container as Spec, EnvVar, EnvVarSource, RevisionSpec};
use kube::ResourceExt;

use super::{Here, Revision};
use crate::container::{Container, Image, Place};

/// Where the only container is.
const FIELD: &str = "spec.template.spec.containers[0]";

/// Returns the container of `revision`, whose spec with defaults is `spec`, with warnings. If it has a
/// command, this runs in the file's folder, as long as images are not asked for.
///
/// # Errors
///
/// Returns everything that one machine cannot do.
pub(super) fn make(
    spec: &RevisionSpec,
    revision: &Revision<'_>,
    here: &Here,
) -> Result<(Container, Vec<String>), Vec<String>> {
    let [container] = &spec.containers[..] else {
        let count = spec.containers.len();
        return Err(vec![format!(
            "spec.template.spec.containers: {count} containers; want one: a pod is one process here"
        )]);
    };
    let mut warnings = probes(container);
    let (mut environment, mut problems) = environment(container, here);
    let service = revision.service.name_any();
    let own = [("K_REVISION", &revision.name), ("K_CONFIGURATION", &service), ("K_SERVICE", &service)];
    environment.extend(own.map(|(name, value)| (name.to_owned(), value.clone())));
    let place = if container.command.is_empty() || here.images {
        match image(container, spec) {
            Ok(image) => Some(Place::Engine(image)),
            Err(more) => {
                problems.extend(more);
                None
            }
        }
    } else {
        let (place, more) = host(container, revision.path, here);
        warnings.extend(more);
        Some(place)
    };
    let (command, arguments) = (container.command.clone(), container.args.clone());
    match place.filter(|_| problems.is_empty()) {
        Some(place) => Ok((Container { command, arguments, environment, place }, warnings)),
        None => Err(problems),
    }
}

/// Returns warnings of the probes that are not used.
fn probes(container: &Spec) -> Vec<String> {
    [("livenessProbe", &container.liveness_probe), ("startupProbe", &container.startup_probe)]
        .into_iter()
        .filter(|(_, probe)| probe.is_some())
        .map(|(name, _)| {
            format!("{FIELD}.{name} has no effect here: a pod starts again when its process ends")
        })
        .collect()
}

/// Returns the variables, and those that are nowhere to be had.
fn environment(container: &Spec, here: &Here) -> (Vec<(String, String)>, Vec<String>) {
    let (mut environment, mut problems) = (Vec::new(), Vec::new());
    for (index, EnvVar { name, value, value_from }) in container.env.iter().enumerate() {
        let Some(source) = value_from else {
            environment.push((name.clone(), value.clone().unwrap_or_default()));
            continue;
        };
        let (origin, is_optional) = origin(source);
        match here.environment.get(name) {
            // A `$` of theirs is no reference.
            Some(value) => environment.push((name.clone(), value.replace('$', "$$"))),
            None if is_optional => {}
            None => problems.push(format!(
                "{FIELD}.env[{index}].valueFrom: one machine has no {origin}; set the variable for ebb, as in \
                 {name}=VALUE ebb up"
            )),
        }
    }
    for (index, source) in container.env_from.iter().enumerate() {
        let refs = [
            ("configMapRef", "ConfigMap", &source.config_map_ref),
            ("secretRef", "Secret", &source.secret_ref),
        ];
        let needed = refs.into_iter().filter_map(|(field, kind, named)| Some((field, kind, named.as_ref()?)));
        let needed = needed.filter(|(_, _, named)| named.optional != Some(true));
        problems.extend(needed.map(|(field, kind, named)| {
            format!(
                "{FIELD}.envFrom[{index}].{field}: one machine has no {kind} {}; want its variables in env",
                named.name
            )
        }));
    }
    (environment, problems)
}

/// Returns where a variable's value comes from, in words, and whether the value may be missing.
fn origin(source: &EnvVarSource) -> (String, bool) {
    let refs = [("ConfigMap", &source.config_map_key_ref), ("Secret", &source.secret_key_ref)];
    let key = refs.into_iter().find_map(|(kind, key)| Some((kind, key.as_ref()?)));
    match key {
        Some((kind, key)) => {
            (format!("{kind} {} with the key {}", key.name, key.key), key.optional == Some(true))
        }
        None => ("fields of pods".to_owned(), false),
    }
}

/// Returns where the command runs on this machine, with warnings.
fn host(container: &Spec, file: &Path, here: &Here) -> (Place, Vec<String>) {
    let mut warnings = Vec::new();
    let of_file = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let wanted = container.working_dir.as_ref().filter(|folder| !folder.is_empty());
    let wanted = wanted.map(|folder| of_file.unwrap_or(Path::new("")).join(folder));
    let folder = match wanted {
        Some(folder) if (here.is_folder)(&folder) => Some(folder),
        Some(folder) => {
            let shown = folder.display();
            warnings.push(format!(
                "{FIELD}.workingDir: {shown} is not on this machine; the command runs in the file's folder"
            ));
            of_file.map(PathBuf::from)
        }
        None => of_file.map(PathBuf::from),
    };
    if !container.volume_mounts.is_empty() {
        warnings.push(format!(
            "{FIELD}.volumeMounts has no effect on a command, which sees the files of this machine"
        ));
    }
    (Place::Host { folder }, warnings)
}

/// Returns the image, or every volume that it cannot have.
fn image(container: &Spec, spec: &RevisionSpec) -> Result<Image, Vec<String>> {
    let mut problems = Vec::new();
    let mut empty_volumes = Vec::new();
    for (index, mount) in container.volume_mounts.iter().enumerate() {
        let volume = spec.volumes.iter().find(|volume| volume.name == mount.name);
        if volume.is_some_and(|volume| volume.empty_dir.is_some()) {
            empty_volumes.push(mount.mount_path.clone());
        } else {
            problems.push(format!(
                "{FIELD}.volumeMounts[{index}]: one machine has no volume {}; want an emptyDir, or a command that \
                 runs without the image",
                mount.name
            ));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Image {
        name: container.image.clone().unwrap_or_default(),
        pull_policy: container.image_pull_policy.clone(),
        directory: container.working_dir.clone().filter(|folder| !folder.is_empty()),
        empty_volumes,
    })
}
