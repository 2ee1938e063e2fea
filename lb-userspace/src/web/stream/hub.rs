//! Who listens, and the task that looks and tells them, which is there only while they are.

use std::{
    collections::HashSet,
    fs,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc},
    time::{sleep_until, timeout},
};
use tracing::debug;

use super::{Full, MOST, QUEUE, Updates, Wish, listener::Listener};
use crate::{
    control::Handle,
    web::{picture::Picture, rates::Rates},
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Looking may take at most one part in so many of the time.
const REST: u32 = 20;
/// The control loop is busy for longer: another time, then.
const LOOP_TIME: Duration = Duration::from_secs(10);
/// Without listeners, looks go on for a while: a page that asks for something else comes back at once.
const LINGER: u32 = 10;

/// All streams.
pub(in crate::web) struct Hub {
    control: Handle,
    host: String,
    all: Mutex<All>,
    /// Somebody came.
    came: Notify,
}

#[derive(Default)]
struct All {
    listeners: Vec<Listener>,
    /// The task is there.
    looking: bool,
}

impl Hub {
    pub(in crate::web) fn new(control: Handle) -> Arc<Self> {
        // Only shown.
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Arc::new(Self {
            control,
            host: host.trim().to_owned(),
            all: Mutex::default(),
            came: Notify::new(),
        })
    }

    /// One more listens. `too_slow` is notified when it does not read.
    pub(in crate::web) fn join(
        self: &Arc<Self>,
        wish: Wish,
        too_slow: &Arc<Notify>,
    ) -> Result<Updates, Full> {
        let mut all = self.lock();
        all.listeners.retain(|listener| !listener.has_left());
        if all.listeners.len() >= MOST {
            return Err(Full);
        }
        let (sender, queue) = mpsc::channel(QUEUE);
        let listener = Listener::new(wish, sender, Arc::clone(too_slow));
        all.listeners.push(listener);
        if all.looking {
            self.came.notify_one();
        } else {
            all.looking = true;
            tokio::spawn(look(Arc::clone(self)));
        }
        Ok(Updates { queue })
    }

    /// Nothing is left half-changed by a thread that panicked.
    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What somebody looks into.
    fn open(&self) -> HashSet<String> {
        let all = self.lock();
        let wishes = all.listeners.iter().map(|listener| &listener.wish);
        wishes.flat_map(|wish| wish.open.iter().cloned()).collect()
    }

    /// Sends them what they lack. False when nobody is there.
    fn tell(&self, picture: &Picture, whom: Whom) -> bool {
        let now = Instant::now();
        let mut all = self.lock();
        all.listeners.retain_mut(|listener| {
            if whom == Whom::Everyone || listener.is_new() {
                listener.tell(picture, now);
            }
            !listener.has_left()
        });
        !all.listeners.is_empty()
    }
}

/// Who is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    Everyone,
    /// Those that know nothing yet.
    Newcomers,
}

/// Looks and tells, for as long as somebody listens.
async fn look(hub: Arc<Hub>) {
    let mut rates = Rates::default();
    let mut alone = 0;
    while alone < LINGER {
        let begun = Instant::now();
        let mut last = None;
        match timeout(LOOP_TIME, hub.control.observe()).await {
            Ok(Ok(observed)) => {
                let open = hub.open();
                let picture = Picture::of(&observed, &hub.host, &open, &mut rates);
                let heard = hub.tell(&picture, Whom::Everyone);
                alone = if heard { 0 } else { alone + 1 };
                last = Some(picture);
            }
            Ok(Err(error)) => {
                debug!("nothing can be shown: {error}");
                break;
            }
            Err(_) => debug!("the control loop is busy"),
        }
        let next = begun + INTERVAL.max(begun.elapsed() * REST);
        let mut rest = pin!(sleep_until(next.into()));
        loop {
            tokio::select! {
                () = &mut rest => break,
                // One who comes gets at once what was seen last.
                () = hub.came.notified() => if let Some(picture) = &last {
                    hub.tell(picture, Whom::Newcomers);
                }
            }
        }
    }
    let mut all = hub.lock();
    all.looking = false;
    // Their streams end; a page asks again.
    all.listeners.clear();
}
