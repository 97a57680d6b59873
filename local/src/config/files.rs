//! What several files say together: each is an `ebb.yaml`, or has Services of Knative Serving.

use std::{
    collections::BTreeMap,
    env,
    num::NonZeroU16,
    path::{Path, PathBuf},
};

use super::{
    ConfigError, Service,
    documents::{self, Document},
    file,
    knative::{self, Given, Here},
    manifest::Object,
};

/// What to run, and what of it has no effect.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// The services.
    pub services: Vec<Service>,
    /// The port of the gateway; `None` if there is none.
    pub gateway: Option<NonZeroU16>,
    /// What is in the files and has no effect, each as a line.
    pub warnings: Vec<String>,
}

/// What the command line says of the services of files.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The port of the gateway, in place of that of a file.
    pub gateway: Option<NonZeroU16>,
    /// The first port for Services of Knative Serving. Each takes the next one that no other service has.
    pub first_port: NonZeroU16,
    /// The domain of their hosts at the gateway.
    pub domain: String,
    /// Whether their images run although they have a command.
    pub images: bool,
}

/// Reads files. Paths in them are relative to them.
///
/// # Errors
///
/// Returns everything that is wrong with them.
pub fn read(paths: &[PathBuf], wishes: &Wishes) -> Result<Described, Vec<ConfigError>> {
    let mut all = All::default();
    for path in paths {
        match super::text::read(path) {
            Ok(text) => all.add(path, &text),
            Err(fault) => all.faults.push(fault),
        }
    }
    let gateway = wishes.gateway.or(all.gateway.as_ref().map(|(port, _)| *port));
    let here = Here {
        // A variable that is not text cannot be one that a manifest names.
        environment: env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        is_folder: Path::is_dir,
        domain: gateway.is_some().then(|| wishes.domain.clone()),
        images: wishes.images,
    };
    all.finish(gateway, wishes.first_port, &here)
}

/// What was read so far.
#[derive(Debug, Default)]
struct All {
    own: Vec<(Service, PathBuf)>,
    given: Vec<Given>,
    gateway: Option<(NonZeroU16, PathBuf)>,
    warnings: Vec<String>,
    faults: Vec<ConfigError>,
}

impl All {
    fn add(&mut self, path: &Path, text: &str) {
        let malformed = |problem| ConfigError::Malformed { path: path.to_owned(), problem };
        let read = documents::split(text).and_then(|documents| {
            documents.into_iter().map(|one| Ok((one, one.parse()?))).collect::<Result<Vec<_>, String>>()
        });
        let documents: Vec<(Document<'_>, Option<Object>)> = match read {
            Ok(documents) => documents,
            Err(problem) => return self.faults.push(malformed(problem)),
        };
        let objects: Vec<(Document<'_>, Object)> =
            documents.into_iter().filter_map(|(document, object)| Some((document, object?))).collect();
        if objects.iter().all(|(_, object)| object.api_version.is_none()) {
            return self.add_own(path, text);
        }
        let before = self.given.len() + self.faults.len();
        for (document, object) in &objects {
            if !object.is(knative::GROUP, knative::KIND) {
                self.warnings.push(format!("{}: {} is not used", path.display(), name_of(object)));
                continue;
            }
            match Given::read(path, document) {
                Ok(given) => self.given.push(given),
                Err(problem) => self.faults.push(malformed(format!("{}: {problem}", name_of(object)))),
            }
        }
        if self.given.len() + self.faults.len() == before {
            let plain = objects.iter().any(|(_, object)| object.is("v1", "Service"));
            let hint =
                if plain { "; for a Service of `v1`, give the command: ebb run -f FILE -- CMD" } else { "" };
            self.faults.push(malformed(format!(
                "no object with `apiVersion: serving.knative.dev/v1` and `kind: Service`{hint}"
            )));
        }
    }

    fn add_own(&mut self, path: &Path, text: &str) {
        let content = match file::read(path, text) {
            Ok(content) => content,
            Err(fault) => return self.faults.push(fault),
        };
        match (content.gateway, &self.gateway) {
            (Some(port), Some((other, there))) if port != *other => {
                self.contradict(
                    path,
                    format!("the gateway has port {port} here, and port {other}"),
                    &there.clone(),
                );
            }
            (Some(port), _) => self.gateway = Some((port, path.to_owned())),
            (None, _) => {}
        }
        self.own.extend(content.services.into_iter().map(|service| (service, path.to_owned())));
    }

    fn contradict(&mut self, path: &Path, problem: String, other: &Path) {
        let (path, other) = (path.to_owned(), other.to_owned());
        self.faults.push(ConfigError::Contradiction { path, problem, other });
    }

    fn finish(
        mut self,
        gateway: Option<NonZeroU16>,
        first_port: NonZeroU16,
        here: &Here,
    ) -> Result<Described, Vec<ConfigError>> {
        let made = knative::make(&self.given, here);
        self.warnings.extend(made.warnings);
        self.faults.extend(made.faults);
        let own = std::mem::take(&mut self.own);
        let mut taken: BTreeMap<u16, PathBuf> = BTreeMap::new();
        for (service, path) in &own {
            if let Some(other) = taken.insert(service.port, path.clone()) {
                self.contradict(
                    path,
                    format!("service {} has port {}, as has one", service.name, service.port),
                    &other,
                );
            }
        }
        let is_free =
            |port: &u16| !taken.contains_key(port) && gateway.is_none_or(|gateway| gateway.get() != *port);
        let mut ports = (first_port.get()..=u16::MAX).filter(is_free);
        let placed = made.services.into_iter().map(|mut made| {
            if made.is_public {
                // Past the last port, any free one.
                made.service.port = ports.next().unwrap_or(0);
            }
            (made.service, made.path)
        });
        let mut services = Vec::new();
        let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (service, path) in own.into_iter().chain(placed) {
            if let Some(other) = names.insert(service.name.clone(), path.clone()) {
                self.contradict(&path, format!("service {} is also", service.name), &other);
            }
            services.push(service);
        }
        let Self { warnings, faults, .. } = self;
        if faults.is_empty() { Ok(Described { services, gateway, warnings }) } else { Err(faults) }
    }
}

fn name_of(object: &Object) -> String {
    let kind = object.kind.as_deref().unwrap_or("an object without a kind");
    let name = object.metadata.name.as_deref().unwrap_or_default();
    format!("{kind} {name}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello}
spec: {template: {spec: {containers: [{image: hello, command: [./hello]}]}}}
";

    /// Reads files that are called `0.yaml`, `1.yaml` and so on.
    fn read_texts(texts: &[&str], gateway: Option<u16>) -> Result<Described, Vec<String>> {
        let mut all = All::default();
        for (number, text) in texts.iter().enumerate() {
            all.add(Path::new(&format!("{number}.yaml")), text);
        }
        let gateway = gateway.and_then(NonZeroU16::new).or(all.gateway.as_ref().map(|(port, _)| *port));
        let here = Here {
            environment: BTreeMap::new(),
            is_folder: |_| true,
            domain: gateway.map(|_| "test".to_owned()),
            images: false,
        };
        let read = all.finish(gateway, NonZeroU16::new(8080).unwrap(), &here);
        read.map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn services_of_both_forms_run_side_by_side_each_with_a_port() {
        let own = "gateway: 8080\nservices: {web: {port: 8082, command: [x]}}";
        let other = HELLO.replace("hello", "other");
        let both = format!("{HELLO}---\n# nothing\n---{other}");
        let Described { services, gateway, warnings } = read_texts(&[own, &both], None).unwrap();
        let ports: Vec<(&str, u16)> = services.iter().map(|one| (one.name.as_str(), one.port)).collect();
        assert_eq!(ports, [("web", 8082), ("hello", 8081), ("other", 8083)]);
        assert_eq!((gateway.map(NonZeroU16::get), warnings), (Some(8080), Vec::new()));
        assert_eq!(services[1].annotations["ebb.dev/hosts"], "hello.default.test");
    }

    #[test]
    fn the_command_lines_gateway_counts_and_without_one_there_are_no_hosts() {
        let own = "gateway: 8080\nservices: {web: {port: 8082, command: [x]}}";
        assert_eq!(read_texts(&[own], Some(9)).unwrap().gateway.map(NonZeroU16::get), Some(9));
        let alone = read_texts(&[HELLO], None).unwrap();
        assert_eq!(
            (alone.services[0].port, alone.services[0].annotations.get("ebb.dev/hosts")),
            (8080, None)
        );
    }

    #[test]
    fn other_objects_are_warned_of_and_a_file_of_nothing_else_is_refused() {
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n";
        let read = read_texts(&[&format!("{map}---{HELLO}")], None).unwrap();
        assert_eq!(read.warnings, ["0.yaml: ConfigMap settings is not used"]);
        let none = "0.yaml: no object with `apiVersion: serving.knative.dev/v1` and `kind: Service`";
        assert_eq!(read_texts(&[map], None).unwrap_err(), [none]);
        let plain = "apiVersion: v1\nkind: Service\nmetadata: {name: hello}\n";
        let hint = "; for a Service of `v1`, give the command: ebb run -f FILE -- CMD";
        assert_eq!(read_texts(&[plain], None).unwrap_err(), [format!("{none}{hint}")]);
    }

    #[test]
    fn files_that_contradict_each_other_are_refused_with_all_that_is_wrong() {
        let own =
            |gateway: u16| format!("gateway: {gateway}\nservices: {{hello: {{port: 1, command: [x]}}}}");
        let faults =
            read_texts(&[&own(8), &own(9), HELLO, "services: [", &HELLO.replace("spec:", "sepc:")], None);
        let faults = faults.unwrap_err();
        let expected = [
            "1.yaml: the gateway has port 9 here, and port 8 in 0.yaml",
            "3.yaml: ",
            "4.yaml: Service hello: ",
            "1.yaml: service hello has port 1, as has one in 0.yaml",
            "1.yaml: service hello is also in 0.yaml",
            "2.yaml: service hello is also in 1.yaml",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, start) in faults.iter().zip(expected) {
            assert!(fault.starts_with(start), "{fault}");
        }
    }

    #[test]
    fn a_misspelled_field_is_refused_as_a_cluster_does() {
        let faults = read_texts(&[&HELLO.replace("command", "comand")], None).unwrap_err();
        let field = "spec.template.spec.containers[0].comand";
        assert_eq!(
            faults,
            [format!("0.yaml: Service hello: strict decoding error: unknown field {field:?}")]
        );
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_its_place() {
        let text = format!("{HELLO}---{}", HELLO.replace("{spec: {", "{spec: {timeoutSeconds: soon, "));
        let faults = read_texts(&[&text], None).unwrap_err();
        assert!(faults[0].starts_with("0.yaml: Service hello: line 10 column"), "{faults:?}");
    }
}
