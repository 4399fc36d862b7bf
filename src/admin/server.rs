//! The admin thread: both HTTP servers, the watch over heartbeats, the drawing of progress.
//!
//! One thread from [`start`] until [`AdminHandle::stop`]. The sockets are bound by the caller, so
//! that it knows the addresses, and what could not be bound, before anything else starts. A port
//! that is taken is no reason not to collect: it is logged, and the process goes on.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::clock::Stopwatch;
use super::flume_server;
use super::health::{Health, WATCH_INTERVAL};
use super::health_pages::{self, Shown};
use super::progress::ProgressBoard;
use super::settings::AdminSettings;
use crate::metrics::Registry;

/// Between two drawings of a bar.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// The running admin thread.
#[derive(Debug)]
pub struct AdminHandle {
    address: SocketAddr,
    flume_address: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminHandle {
    /// Where Prometheus metrics and health are served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where Flume's JSON is served, if it is.
    #[must_use]
    pub fn flume_address(&self) -> Option<SocketAddr> {
        self.flume_address
    }

    /// Ends the thread. Requests under way are cut off.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // The thread may have ended already: then nobody listens, and the join returns at once.
        self.stop.take().map(|stop| stop.send(()).ok());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("The admin thread panicked");
        }
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Binds the sockets and starts the admin thread.
///
/// # Errors
/// No socket could be had for the admin address, not even at another port; or no thread.
pub fn start(
    settings: &AdminSettings,
    registry: Arc<Registry>,
    health: Arc<Health>,
    progress: Arc<ProgressBoard>,
) -> io::Result<AdminHandle> {
    let admin = bind_admin(settings.address)?;
    let address = admin.local_addr()?;
    let flume = settings.flume_port.and_then(bind_flume);
    let flume_address = flume.as_ref().map(TcpListener::local_addr).transpose()?;
    admin.set_nonblocking(true)?;
    if let Some(flume) = &flume {
        flume.set_nonblocking(true)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let shown = Shown {
        registry,
        health,
        progress,
    };
    let thread = std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || runtime.block_on(run(admin, flume, shown, stopped)))?;
    info!("Metrics and health at http://{address}: /metrics /livez /readyz /startupz");
    if let Some(flume_address) = flume_address {
        info!("Flume's metrics at http://{flume_address}/metrics");
    }
    Ok(AdminHandle {
        address,
        flume_address,
        stop: Some(stop),
        thread: Some(thread),
    })
}

fn bind_admin(wanted: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(wanted).or_else(|reason| {
        let elsewhere = TcpListener::bind(SocketAddr::new(wanted.ip(), 0))?;
        warn!(
            "Admin address {wanted} cannot be had ({reason}); using {} instead. \
             -Dflumen.admin.address=host:port names another one",
            elsewhere.local_addr()?
        );
        Ok(elsewhere)
    })
}

/// All interfaces, as Flume does; a machine without IPv6 gets the IPv4 ones.
fn bind_flume(port: u16) -> Option<TcpListener> {
    let bound = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
    bound
        .map_err(|reason| {
            error!(
                "Flume's metrics are not available: port {port} cannot be had ({reason}). \
                 -Dflume.monitoring.port=N names another one"
            );
        })
        .ok()
}

async fn run(
    admin: TcpListener,
    flume: Option<TcpListener>,
    shown: Shown,
    stopped: oneshot::Receiver<()>,
) {
    let watch = watch(Arc::clone(&shown.health), Arc::clone(&shown.progress));
    let flume_router = flume_server::router(Arc::clone(&shown.registry));
    let serve_flume = async {
        match flume {
            Some(flume) => serve(flume, flume_router).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // A handle that was dropped stops the thread as well.
        _ = stopped => {}
        () = watch => {}
        () = serve(admin, health_pages::router(shown)) => {}
        () = serve_flume => {}
    }
}

async fn serve(listener: TcpListener, router: Router) {
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, router).await,
        Err(reason) => Err(reason),
    };
    if let Err(reason) = served {
        error!("An admin server ended: {reason}");
        // The other one goes on.
        std::future::pending::<()>().await;
    }
}

/// Draws progress while there is work, and looks at the heartbeats once a second.
async fn watch(health: Arc<Health>, progress: Arc<ProgressBoard>) {
    let mut since_look = Stopwatch::start();
    loop {
        let pause = match progress.show() {
            true => DRAW_INTERVAL,
            false => WATCH_INTERVAL,
        };
        tokio::time::sleep(pause).await;
        if since_look.elapsed() >= WATCH_INTERVAL {
            health.watch();
            since_look = Stopwatch::start();
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
