//! Who is connected, and what they are doing. There are never more than [`MOST`]: when one more comes,
//! the one leaves that has kept its seat longest without asking for anything, so that nobody is
//! locked out by connections that do nothing. Each has a moment to ask, however many come after it:
//! they wait in the socket's queue.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::sleep};

/// Most connections at a time.
pub(crate) const MOST: usize = 128;
/// Within it a request that was sent right after the connection is read, on a busy host too.
const MOMENT: Duration = Duration::from_millis(200);

/// What a connection is doing, from the one that can best be spared on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It has not asked for anything yet, or not all of it has come.
    Waiting,
    /// Its answer is on the way, as fast as it reads.
    Writing,
    /// The daemon is at work for it. These are let be.
    Working,
}

#[derive(Default)]
pub(crate) struct Connections {
    seats: Mutex<Seats>,
    freed: Notify,
}

#[derive(Default)]
struct Seats {
    taken: HashMap<u64, Taken>,
    next: u64,
}

struct Taken {
    phase: Phase,
    since: Instant,
    leave: Arc<Notify>,
}

/// The seat of one connection; free once it is dropped.
pub(crate) struct Seat {
    number: u64,
    all: Arc<Connections>,
    leave: Arc<Notify>,
}

impl Connections {
    /// What comes next, once there is a seat for it.
    ///
    /// # Errors
    /// What the listener says.
    pub(crate) async fn next<S>(
        self: &Arc<Self>,
        accepted: impl Future<Output = io::Result<S>>,
    ) -> io::Result<(S, Seat)> {
        let stream = accepted.await?;
        Ok((stream, self.admit().await))
    }

    /// A seat for one more. Waits only while all are at work, or have just come.
    pub(crate) async fn admit(self: &Arc<Self>) -> Seat {
        loop {
            let freed = self.freed.notified();
            match self.seat() {
                Ok(seat) => return seat,
                Err(None) => freed.await,
                Err(Some(left)) => tokio::select! {
                    () = freed => {}
                    () = sleep(left) => {}
                },
            }
        }
    }

    /// A seat, or the time until somebody can be asked to leave; `None` while all are at work.
    fn seat(self: &Arc<Self>) -> Result<Seat, Option<Duration>> {
        let mut seats = self.lock();
        if seats.taken.len() >= MOST {
            let spared = (seats.taken.iter())
                .filter(|(_, taken)| taken.phase != Phase::Working)
                .min_by_key(|(_, taken)| (taken.phase, taken.since))
                .map(|(number, taken)| (*number, taken.since))
                .ok_or(None)?;
            let (number, since) = spared;
            let left = MOMENT.saturating_sub(since.elapsed());
            if !left.is_zero() {
                return Err(Some(left));
            }
            if let Some(taken) = seats.taken.remove(&number) {
                taken.leave.notify_one();
            }
        }
        let number = seats.next;
        seats.next += 1;
        let leave = Arc::new(Notify::new());
        seats.taken.insert(
            number,
            Taken {
                phase: Phase::Waiting,
                since: Instant::now(),
                leave: Arc::clone(&leave),
            },
        );
        Ok(Seat {
            number,
            all: Arc::clone(self),
            leave,
        })
    }

    /// Has all leave that have not asked for anything, and waits until the others have their answers.
    pub(crate) async fn close(&self) {
        loop {
            let freed = self.freed.notified();
            {
                let mut seats = self.lock();
                seats.taken.retain(|_, taken| {
                    let stays = taken.phase != Phase::Waiting;
                    if !stays {
                        taken.leave.notify_one();
                    }
                    stays
                });
                if seats.taken.is_empty() {
                    return;
                }
            }
            freed.await;
        }
    }

    /// Nothing is left half-changed by a thread that panicked.
    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// It does something else from now on.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut seats = self.all.lock();
        if let Some(taken) = seats.taken.get_mut(&self.number) {
            (taken.phase, taken.since) = (phase, Instant::now());
        }
    }

    /// Ready when the seat is needed for somebody else.
    pub(crate) async fn needed(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.all.lock().taken.remove(&self.number);
        self.all.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(50);

    async fn is_asked_to_leave(seat: &Seat) -> bool {
        timeout(AT_ONCE, seat.needed()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_idle_one_leaves_for_a_new_one() {
        let all = Arc::new(Connections::default());
        let mut seats = Vec::new();
        for _ in 0..MOST {
            seats.push(all.admit().await);
        }
        seats[0].enter(Phase::Working);
        seats[1].enter(Phase::Writing);
        assert!(
            timeout(AT_ONCE, all.admit()).await.is_err(),
            "they have just come"
        );
        seats.push(all.admit().await);
        assert!(is_asked_to_leave(&seats[2]).await);
        for n in [0, 1, 3, MOST] {
            assert!(!is_asked_to_leave(&seats[n]).await, "{n}");
        }
        // Nobody waits: then one leaves whose answer is on the way.
        for seat in &seats[3..] {
            seat.enter(Phase::Working);
        }
        seats.push(all.admit().await);
        assert!(is_asked_to_leave(&seats[1]).await);
        assert!(!is_asked_to_leave(&seats[0]).await);
    }

    #[tokio::test]
    async fn while_all_are_at_work_a_new_one_waits_for_a_seat() {
        let all = Arc::new(Connections::default());
        let mut seats = Vec::new();
        for _ in 0..MOST {
            let seat = all.admit().await;
            seat.enter(Phase::Working);
            seats.push(seat);
        }
        assert!(timeout(AT_ONCE, all.admit()).await.is_err());
        let waiting = all.admit();
        seats.pop();
        timeout(Duration::from_secs(10), waiting)
            .await
            .expect("a seat is free");
    }

    #[tokio::test]
    async fn closing_waits_for_answers_alone() {
        let all = Arc::new(Connections::default());
        let (idle, busy) = (all.admit().await, all.admit().await);
        busy.enter(Phase::Working);
        assert!(timeout(AT_ONCE, all.close()).await.is_err());
        assert!(is_asked_to_leave(&idle).await);
        busy.enter(Phase::Writing);
        assert!(timeout(AT_ONCE, all.close()).await.is_err());
        drop(busy);
        timeout(Duration::from_secs(10), all.close())
            .await
            .expect("nobody is left");
    }
}
