//! The moment in which packets change from one layout's program to another's, as the program is told of it.

use std::time::{Duration, Instant};

use aya::maps::{Array, MapData};
use lb_common::{
    names,
    service::{HANDOVER_REST_NS, Settings},
};

use super::super::{clock, error::DatapathError, pins::Pins, store};

/// For so long new flows are refused, should the daemon die meanwhile: less than a client waits before it
/// repeats a SYN for the first time.
const HELD: Duration = Duration::from_millis(250);
/// It is told again after so long.
const RENEWED: Duration = Duration::from_millis(50);

pub(super) struct Handover {
    settings: Array<MapData, Settings>,
    begun: Instant,
    told: Instant,
}

impl Handover {
    /// From here on the program drops what is of no known flow.
    ///
    /// # Errors
    /// When the settings cannot be read or written.
    pub(super) fn begin(pins: &Pins) -> Result<Self, DatapathError> {
        let begun = Instant::now();
        let mut handover = Self {
            settings: store::typed(pins, names::SETTINGS)?,
            begun,
            told: begun,
        };
        handover.tell(Some(HELD + Duration::from_nanos(HANDOVER_REST_NS)))?;
        Ok(handover)
    }

    /// It is still going on. To be called often.
    ///
    /// # Errors
    /// When the settings cannot be read or written.
    pub(super) fn hold(&mut self) -> Result<(), DatapathError> {
        if self.told.elapsed() < RENEWED {
            return Ok(());
        }
        self.tell(Some(HELD + Duration::from_nanos(HANDOVER_REST_NS)))
    }

    /// It is over. Returns how long it took.
    ///
    /// # Errors
    /// When the settings cannot be read or written.
    pub(super) fn end(mut self) -> Result<Duration, DatapathError> {
        self.tell(None)?;
        Ok(self.begun.elapsed())
    }

    fn tell(&mut self, left: Option<Duration>) -> Result<(), DatapathError> {
        let failed = store::at(names::SETTINGS);
        let mut settings = self.settings.get(&0, 0).map_err(&failed)?;
        let until_ns = left.map_or(0, |left| (clock::monotonic() + left).as_nanos());
        settings.handover_until_ns = u64::try_from(until_ns).unwrap_or(u64::MAX);
        self.settings.set(0, settings, 0).map_err(&failed)?;
        self.told = Instant::now();
        Ok(())
    }
}
