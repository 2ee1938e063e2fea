//! `divvy status --watch`: a live view on a terminal. Here the loop: readings and keys come in, the model
//! takes them, and what changed is drawn.

mod changes;
mod draw;
mod keys;
mod model;
mod rates;
mod rows;

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crossterm::event::{self, Event};
use ratatui::DefaultTerminal;
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};

use self::{
    keys::Wish,
    model::{Away, Model, Reading},
};
use super::only;
use crate::{
    api::client::Client,
    cli::{Failure, NOT_REACHABLE, Places, signals::Signals},
    control::view::{BackendPlace, Override},
};

/// Between two drawings at least: a held key must not draw once for each of its repetitions.
const FRAME: Duration = Duration::from_millis(30);
/// Without anything new, so that what is told in "seconds ago" goes on.
const CLOCK: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// Shows services and backends until `q` is pressed or a signal comes.
pub(super) async fn watch(
    places: &Places,
    service: Option<String>,
    interval: Duration,
    colour: bool,
) -> Result<(), Failure> {
    if !(SHORTEST..=LONGEST).contains(&interval) {
        return Err(Failure::failed(
            "--interval is out of range, use 100ms to 1m",
        ));
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::failed(
            "--watch draws on a terminal and takes keys from it, and this is none; `divvy status` prints \
             once, and `-o json` is for programs",
        ));
    }
    let looker = Looker {
        client: Client::new(&places.run_dir),
        service,
        now: Arc::new(Notify::new()),
    };
    // A daemon that is not there, or has no such service, is told as by any other verb.
    let asked = Instant::now();
    let first = looker.look().await?;
    let mut model = Model::new(first, middle(asked), interval, colour);
    let mut signals = Signals::new()?;
    // A panic gives the terminal back too, before it says what happened.
    let mut terminal = ratatui::try_init().map_err(|error| {
        ratatui::restore();
        Failure::failed(format!("cannot draw on this terminal: {error}"))
    })?;
    let result = show(&mut terminal, &mut model, looker, &mut signals).await;
    ratatui::restore();
    result
}

async fn show(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    looker: Looker,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let mut keys = keys();
    let (done, mut results) = mpsc::channel(4);
    let client = looker.client.clone();
    let look_now = Arc::clone(&looker.now);
    let mut readings = looker.readings(model.interval);
    loop {
        let drawn = terminal.draw(|frame| draw::draw(model, frame));
        drawn.map_err(|error| Failure::failed(format!("cannot draw any more: {error}")))?;
        tokio::select! {
            event = keys.recv() => {
                let Some(event) = event else {
                    return Err(Failure::failed("the terminal gives no more keys"));
                };
                // What else was typed meanwhile is drawn together.
                let more = std::iter::from_fn(|| keys.try_recv().ok()).collect::<Vec<_>>();
                for event in std::iter::once(event).chain(more) {
                    match keys::take(model, &event) {
                        Wish::None => {}
                        Wish::Quit => return Ok(()),
                        Wish::Decide(place, to) => {
                            tokio::spawn(decide(client.clone(), place, to, done.clone()));
                        }
                    }
                }
            }
            reading = readings.recv() => match reading {
                Some(reading) => model.take(reading),
                None => return Err(Failure::failed("nothing looks any more")),
            },
            Some((said, well)) = results.recv() => {
                model.say(said, well);
                // What was decided is to be seen at once.
                look_now.notify_one();
            }
            () = signals.any() => return Ok(()),
            // Clocks go on.
            () = sleep(CLOCK) => {}
        }
        model.forget_old_words();
        sleep(FRAME).await;
    }
}

/// Asks the daemon again and again.
struct Looker {
    client: Client,
    /// The only one to show.
    service: Option<String>,
    /// Cuts the time until the next reading short.
    now: Arc<Notify>,
}

impl Looker {
    async fn look(&self) -> Result<super::View, Failure> {
        let mut view = self.client.status().await?;
        if let Some(service) = &self.service {
            only(&mut view, service)?;
        }
        Ok(view)
    }

    /// One reading each interval, or as fast as the daemon answers.
    fn readings(self, interval: Duration) -> mpsc::Receiver<Reading> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut next = Instant::now() + interval;
            loop {
                tokio::select! {
                    () = sleep(next.saturating_duration_since(Instant::now())) => {}
                    () = self.now.notified() => next = Instant::now(),
                }
                let asked = Instant::now();
                let reading = match self.look().await {
                    Ok(view) => Reading::Status(Box::new(view), middle(asked)),
                    Err(failure) => Reading::Failed(Away {
                        since: SystemTime::now(),
                        reachable: failure.code != NOT_REACHABLE,
                        why: failure.message,
                    }),
                };
                if sender.send(reading).await.is_err() {
                    return;
                }
                next = (next + interval).max(Instant::now());
            }
        });
        receiver
    }
}

/// When the daemon read its counters, which it does not tell: between question and answer.
fn middle(asked: Instant) -> Instant {
    asked + asked.elapsed() / 2
}

async fn decide(
    client: Client,
    place: BackendPlace,
    to: Override,
    done: mpsc::Sender<(String, bool)>,
) {
    let said = match client.override_backend(&place, to).await {
        Ok(overridden) => match overridden.warning {
            Some(warning) => (format!("{}; warning: {warning}", overridden.summary), true),
            None => (overridden.summary, true),
        },
        Err(error) => (error.to_string(), false),
    };
    // Nobody may be looking any more.
    let _ = done.send(said).await;
}

/// Events of the terminal. The thread that waits for them ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(64);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receiver
}
