//! The programs that the tests need, found on this machine or built for the tests.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    sync::OnceCell,
    time::timeout,
};

/// An app.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Node,
    Express,
    Go,
    Gunicorn,
    GunicornThreads,
    Uvicorn,
    HttpServer,
    Nginx,
    WebSockets,
    Grpc,
}

/// An app that can be started.
#[derive(Debug)]
pub(crate) struct Program {
    kind: Kind,
    path: PathBuf,
}

/// Maximum time for an installation or a build.
const MAKING: Duration = Duration::from_secs(300);

/// Finds or builds what `kind` needs. If it is not available, prints a line.
pub(crate) async fn have(kind: Kind) -> Option<Program> {
    let path = match kind {
        Kind::Node => installed("node"),
        Kind::Express => {
            if express().await {
                installed("node")
            } else {
                None
            }
        }
        Kind::Nginx => installed("nginx").or_else(|| said_without("/usr/sbin/nginx")),
        Kind::Go => go().await,
        Kind::Gunicorn | Kind::GunicornThreads => python("gunicorn").await,
        Kind::Uvicorn => python("uvicorn").await,
        Kind::HttpServer => installed("python3"),
        Kind::WebSockets | Kind::Grpc => python("python").await,
    }?;
    Some(Program { kind, path })
}

impl Program {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it at `address`; it ends when the result is dropped.
    pub(crate) fn start(&self, address: SocketAddr) -> Child {
        let (port, bind) = (address.port().to_string(), address.to_string());
        let mut command = Command::new(&self.path);
        command.env("PORT", &port).current_dir(source("")).kill_on_drop(true);
        match self.kind {
            Kind::Node => command.arg("app.js"),
            Kind::Express => command.env("NODE_PATH", packages_of_node()).arg("express_app.js"),
            Kind::Go => &mut command,
            Kind::Gunicorn => command.args(gunicorn(&bind)),
            Kind::GunicornThreads => command.args(["--worker-class", "gthread"]).args(gunicorn(&bind)),
            Kind::Uvicorn => command.args(["--port", &port, "--log-level", "warning", "asgi_app:app"]),
            Kind::HttpServer => command.arg("http_server_app.py"),
            Kind::WebSockets => command.arg("echo.py"),
            Kind::Grpc => command.arg("grpc_app.py"),
            Kind::Nginx => command.arg("-c").arg(nginx_configuration(&port)),
        };
        // Otherwise, Python would write beside the sources.
        command.env("PYTHONDONTWRITEBYTECODE", "1").spawn().expect("the program starts")
    }
}

/// Returns a port on which nobody listens.
pub(crate) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// Returns the path of a file beside this one.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real").join(name)
}

/// Returns a folder that the tests may write to.
pub(crate) fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Returns the path of a program in `PATH`.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.or_else(|| said_without(name))
}

/// Returns the path of the program, or prints a line that it is missing.
fn said_without(name: &str) -> Option<PathBuf> {
    if Path::new(name).is_file() {
        return Some(name.into());
    }
    println!("skipped: no {name} on this machine");
    None
}

/// Returns the app in Go, built once for all tests.
async fn go() -> Option<PathBuf> {
    static BUILT: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    let build = async || {
        let program = folder().join("go-app");
        let mut command = Command::new(installed("go")?);
        command.args(["build", "-o"]).arg(&program).arg(source("app.go"));
        made(command).await.then_some(program)
    };
    BUILT.get_or_init(build).await.clone()
}

fn packages_of_node() -> PathBuf {
    folder().join("node").join("node_modules")
}

/// Returns whether Node finds Express, which is installed once for all tests.
async fn express() -> bool {
    static MADE: OnceCell<bool> = OnceCell::const_new();
    let make = async || {
        // npm writes this file last.
        if packages_of_node().join(".package-lock.json").is_file() {
            return true;
        }
        let Some(npm) = installed("npm") else { return false };
        let mut install = Command::new(npm);
        install
            .args(["install", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder().join("node"))
            .arg("express@5");
        made(install).await
    };
    *MADE.get_or_init(make).await
}

/// Returns the arguments with which gunicorn serves the app.
const fn gunicorn(bind: &str) -> [&str; 5] {
    ["--bind", bind, "--log-level", "warning", "wsgi_app:app"]
}

/// What apps and clients in Python need.
const PACKAGES: [&str; 4] = ["grpcio", "gunicorn", "uvicorn", "websockets"];

/// Returns a Python program, in an environment that is created once for all tests.
async fn python(name: &str) -> Option<PathBuf> {
    static MADE: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    let make = async || {
        let environment = folder().join("python");
        let (programs, has) = (environment.join("bin"), environment.join("packages"));
        if std::fs::read_to_string(&has).ok() != Some(PACKAGES.join(" ")) {
            let mut create = Command::new(installed("python3")?);
            create.args(["-m", "venv"]).arg(&environment);
            let mut install = Command::new(programs.join("pip"));
            install.args(["install", "--quiet"]).args(PACKAGES);
            let made = made(create).await && made(install).await;
            made.then_some(())?;
            std::fs::write(&has, PACKAGES.join(" ")).expect("room for a line");
        }
        Some(programs)
    };
    Some(MADE.get_or_init(make).await.as_ref()?.join(name))
}

/// Returns whether the command succeeded in time; if not, prints a line.
async fn made(mut command: Command) -> bool {
    let ended = timeout(MAKING, command.kill_on_drop(true).output()).await;
    let done = matches!(&ended, Ok(Ok(output)) if output.status.success());
    if !done {
        println!("skipped: {command:?}: {ended:?}");
    }
    done
}

fn nginx_configuration(port: &str) -> PathBuf {
    let folder = folder().join(format!("nginx-{port}"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = std::fs::read_to_string(source("nginx.conf")).expect("a configuration");
    let text = text.replace("FOLDER", &folder.display().to_string()).replace("PORT", port);
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).expect("room for it");
    file
}
