//! A queue-proxy and an nginx in front of the same app; only one is active at a time, alone on the first
//! core.

use std::{
    env,
    error::Error,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::cores::alone_on_the_first;

pub(crate) type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// A proxy in front of the app, alone on the first core.
pub(crate) struct Proxy {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    /// The folder with its configuration, if it has one.
    folder: Option<PathBuf>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl Proxy {
    async fn start(command: &mut Command, address: SocketAddr, folder: Option<PathBuf>) -> Result<Self> {
        let child = command.spawn()?;
        let mut proxy = Self { child, address, folder };
        for _ in 0..500 {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(proxy);
            }
            if let Some(status) = proxy.child.try_wait()? {
                return Err(format!("{command:?} ended: {status}").into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(format!("{command:?} does not listen").into())
    }
}

/// Starts the built queue-proxy, or the one that `EBB_QUEUE_PROXY` names.
pub(crate) async fn queue_proxy(app: SocketAddr) -> Result<Proxy> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/queue-proxy");
    let program = env::var_os("EBB_QUEUE_PROXY").map_or(built, PathBuf::from);
    if !program.exists() {
        return Err(format!("{} is missing: cargo build --release -p queue-proxy", program.display()).into());
    }
    let [serving, stats, admin] = [free_port().await?, free_port().await?, free_port().await?];
    let mut command = alone_on_the_first(&program);
    command.env_clear().envs([
        ("SERVING_POD", "pod-1".to_owned()),
        ("USER_PORT", app.port().to_string()),
        ("QUEUE_SERVING_PORT", serving.port().to_string()),
        ("EBB_STATS_PORT", stats.port().to_string()),
        ("EBB_ADMIN_PORT", admin.port().to_string()),
    ]);
    Proxy::start(&mut command, serving, None).await
}

/// Returns `None` if nginx is not installed.
pub(crate) async fn nginx(app: SocketAddr) -> Result<Option<Proxy>> {
    let paths = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    let places = paths.into_iter().chain([PathBuf::from("/usr/sbin")]);
    let Some(program) = places.map(|place| place.join("nginx")).find(|program| program.exists()) else {
        return Ok(None);
    };
    let address = free_port().await?;
    let folder = env::temp_dir().join(format!("ebb-proxy-cpu-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, configured(app, address, &folder))?;
    let mut command = alone_on_the_first(&program);
    command.arg("-p").arg(&folder).arg("-c").arg(&configuration);
    Proxy::start(&mut command, address, Some(folder)).await.map(Some)
}

/// Returns a configuration with one process that keeps its connections on both sides, as a queue-proxy does.
fn configured(app: SocketAddr, address: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/log;
         events {{ worker_connections 8192; }}
         http {{
           access_log off; keepalive_requests 1000000000;
           client_max_body_size 0; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
           uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
           upstream app {{ server {app}; keepalive 64; keepalive_requests 1000000000; }}
           server {{
             listen {address};
             location / {{
               proxy_pass http://app; proxy_http_version 1.1; proxy_request_buffering off;
               proxy_set_header Connection \"\"; proxy_set_header Host $host;
               proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
             }}
           }}
         }}"
    )
}

async fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?)
}
