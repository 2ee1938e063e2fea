//! HTTP at the address of `metrics`: the metrics, and a page for browsers that shows what goes on. Nothing can be changed
//! here. Whoever asks, and however slowly they read, takes no more than their seat: there are so many seats, so many
//! large answers at a time, and so many streams.

mod answer;
mod connection;
mod page;
mod picture;
mod rates;
mod site;
mod stream;

use std::{net::TcpListener as StdListener, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use tracing::{error, info, warn};

use self::{connection::attend, site::Site};
use crate::{
    api::connections::Connections,
    control::{Handle, MetricsSockets},
};

/// Until a connection is taken in again after that failed, for want of descriptors perhaps.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Serves on whichever socket came last; ends with the control loop.
pub async fn serve(mut sockets: MetricsSockets, control: Handle) {
    let site = Site::new(control);
    let mut current: Option<JoinHandle<()>> = None;
    while let Some(socket) = sockets.recv().await {
        if let Some(task) = current.take() {
            task.abort();
        }
        if let Some(socket) = socket {
            let site = Arc::clone(&site);
            current = Some(tokio::spawn(async move {
                if let Err(error) = serve_socket(socket, site).await {
                    error!("serving metrics failed: {error}");
                }
            }));
        }
    }
}

/// Ends with its connections when it is aborted.
async fn serve_socket(socket: StdListener, site: Arc<Site>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let address = listener.local_addr()?;
    info!("metrics on http://{address}/metrics, the status page on http://{address}/");
    let connections = Arc::new(Connections::default());
    let mut attended = JoinSet::new();
    loop {
        tokio::select! {
            next = connections.next(async { Ok(listener.accept().await?.0) }) => match next {
                Ok((stream, seat)) => {
                    attended.spawn(attend(stream, seat, Arc::clone(&site)));
                }
                Err(error) => {
                    warn!("the metrics' address cannot take in a connection: {error}");
                    sleep(AFTER_FAILURE).await;
                }
            },
            Some(_) = attended.join_next() => {}
        }
    }
}
