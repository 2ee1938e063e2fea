//! `divvy drain`, `disable`, `weight` and `enable`: what the operator decides over one backend.

use clap::Args;
use humantime::Duration;

use super::{Failure, Places, print_text, wait};
use crate::{
    api::client::Client,
    config::MAX_WEIGHT,
    control::view::{BackendPlace, Override},
};

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The backend, such as web/web-1.
    #[arg(value_name = "SERVICE/BACKEND")]
    place: BackendPlace,
}

#[derive(Debug, Args)]
pub(super) struct Drain {
    #[command(flatten)]
    place: Place,
    /// Return when the last of its flows is gone, or their time is over.
    #[arg(long)]
    wait: bool,
    /// Wait no longer than this, such as 90s or 5m; the drain goes on then.
    #[arg(long, requires = "wait", value_name = "DURATION")]
    timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Weight {
    #[command(flatten)]
    place: Place,
    /// Its share of new flows beside the others' weights; 0 gives it none.
    #[arg(value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(0..=i64::from(MAX_WEIGHT)))]
    weight: u16,
}

impl Drain {
    pub(super) async fn execute(self, places: &Places) -> Result<(), Failure> {
        let place = self.place.place;
        decide(&place, Override::Drain, places).await?;
        if !self.wait {
            return Ok(());
        }
        wait::until_drained(&place, self.timeout.map(Into::into), places).await
    }
}

impl Place {
    pub(super) async fn disable(self, places: &Places) -> Result<(), Failure> {
        decide(&self.place, Override::Disable, places).await
    }

    pub(super) async fn enable(self, places: &Places) -> Result<(), Failure> {
        decide(&self.place, Override::Enable, places).await
    }
}

impl Weight {
    pub(super) async fn execute(self, places: &Places) -> Result<(), Failure> {
        decide(&self.place.place, Override::Weight(self.weight), places).await
    }
}

async fn decide(place: &BackendPlace, to: Override, places: &Places) -> Result<(), Failure> {
    let client = Client::new(&places.run_dir);
    let overridden = client.override_backend(place, to).await?;
    print_text(&overridden.summary)?;
    match overridden.warning {
        Some(warning) => print_text(&format!("warning: {warning}")),
        None => Ok(()),
    }
}
