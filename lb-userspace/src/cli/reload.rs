//! `divvy reload`: has the daemon apply its edited file.

use super::{Failure, Places, print_text};
use crate::api::client::Client;

pub(super) async fn execute(places: &Places) -> Result<(), Failure> {
    let reloaded = Client::new(&places.run_dir).reload().await?;
    print_text(&reloaded.summary)
}
