//! How others talk to the control loop: a command goes in, and its answer comes back.

use std::fmt::{self, Display, Formatter};

use prometheus::Histogram;
use tokio::sync::{mpsc, oneshot};

use super::trace::{Beginning, Directory};
use super::view::{
    BackendPlace, Detached, FlowFilter, Flows, Overridden, Override, Reloaded,
    diff::Diff,
    explain::{ExplainQuery, Explanation},
    observed::Observed,
};
use crate::{
    config::Config,
    datapath::{DatapathError, TracedProgram},
    net::NetError,
};

/// How others talk to the control loop.
#[derive(Clone)]
pub struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) decision_to_tables: Histogram,
}

/// A question to the control loop, with where its answer goes.
pub(super) enum Command {
    /// All that there is to see.
    Observe(oneshot::Sender<Result<Box<Observed>, CommandError>>),
    Flows(FlowFilter, oneshot::Sender<Result<Flows, CommandError>>),
    /// A configuration, and the name of its file.
    Diff(
        Box<Config>,
        String,
        oneshot::Sender<Result<Diff, CommandError>>,
    ),
    /// By whom, unless it is a signal.
    Reload(
        Option<Peer>,
        oneshot::Sender<Result<Reloaded, CommandError>>,
    ),
    Override(
        BackendPlace,
        Override,
        Peer,
        oneshot::Sender<Result<Overridden, CommandError>>,
    ),
    Explain(
        Box<ExplainQuery>,
        oneshot::Sender<Result<Explanation, CommandError>>,
    ),
    /// A trace of this service is to begin.
    TraceBegin(String, oneshot::Sender<Result<Beginning, CommandError>>),
    /// Its program is to be put in place.
    TraceBy(TracedProgram, oneshot::Sender<Result<(), CommandError>>),
    /// Whose packets are whose now.
    Directory(oneshot::Sender<Result<Directory, CommandError>>),
    TraceEnd,
    /// Answered as soon as the loop comes by.
    Ping(oneshot::Sender<Result<(), CommandError>>),
    Detach(Peer, oneshot::Sender<Result<Detached, CommandError>>),
    Stop,
}

/// Who asks: the process at the other end of the socket, as it was when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    /// Where the user database knows one.
    pub name: Option<String>,
    pub pid: Option<i32>,
}

impl Display for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        match self.pid {
            Some(pid) => write!(f, ", pid {pid}"),
            None => Ok(()),
        }
    }
}

/// A command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The file is not valid, or asks for what this host does not have; nothing changed.
    #[error("{0}")]
    InvalidConfig(String),
    #[error("{0}; nothing changed")]
    Reload(String),
    /// The backend that was named is not in the configuration.
    #[error("{0}")]
    NoBackend(String),
    #[error("{0}; nothing changed")]
    Override(String),
    /// A question makes no sense.
    #[error("{0}")]
    Question(String),
    /// A trace cannot be taken.
    #[error("{0}")]
    Trace(String),
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("the daemon is stopping")]
    Stopping,
}

impl Handle {
    /// # Errors
    /// When the flow tables cannot be read, or the daemon is stopping.
    pub async fn flows(&self, filter: FlowFilter) -> Result<Flows, CommandError> {
        self.ask(|reply| Command::Flows(filter, reply)).await
    }

    /// Applies the configuration file as it is now. `by` is nobody for a signal.
    ///
    /// # Errors
    /// When the file is not valid or cannot be applied; nothing changed then.
    pub async fn reload(&self, by: Option<Peer>) -> Result<Reloaded, CommandError> {
        self.ask(|reply| Command::Reload(by, reply)).await
    }

    /// Takes the program off, removes all pinned state, and ends the loop.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn detach(&self, by: Peer) -> Result<Detached, CommandError> {
        self.ask(|reply| Command::Detach(by, reply)).await
    }

    /// Returns once the loop has come by: it is at work.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub async fn ping(&self) -> Result<(), CommandError> {
        self.ask(Command::Ping).await
    }

    /// Ends the loop.
    pub async fn stop(&self) {
        // That it has ended already is as good.
        let _ = self.commands.send(Command::Stop).await;
    }

    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, CommandError>>) -> Command,
    ) -> Result<T, CommandError> {
        let (reply, answer) = oneshot::channel();
        (self.commands.send(command(reply)).await).map_err(|_| CommandError::Stopping)?;
        answer.await.map_err(|_| CommandError::Stopping)?
    }
}
