//! `divvy drain` and `divvy enable`: what the operator decides over one backend.

use clap::Args;

use super::{Failure, Places, print_text};
use crate::{
    api::client::Client,
    control::view::{BackendPlace, Override},
};

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The backend, such as web/web-1.
    #[arg(value_name = "SERVICE/BACKEND")]
    place: BackendPlace,
}

pub(super) async fn drain(place: Place, places: &Places) -> Result<(), Failure> {
    decide(place, Override::Drain, places).await
}

pub(super) async fn enable(place: Place, places: &Places) -> Result<(), Failure> {
    decide(place, Override::Enable, places).await
}

async fn decide(place: Place, to: Override, places: &Places) -> Result<(), Failure> {
    let client = Client::new(&places.run_dir);
    let overridden = client.override_backend(&place.place, to).await?;
    print_text(&overridden.summary)?;
    match overridden.warning {
        Some(warning) => print_text(&format!("warning: {warning}")),
        None => Ok(()),
    }
}
