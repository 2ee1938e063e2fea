//! `divvy detach`: takes the program off and removes all pinned state. A running daemon does it
//! itself and ends; without one it is done here.

use super::{Failure, Places, print_text};
use crate::{
    api::client::{Client, ClientError},
    control::view::Detached,
    datapath::Datapath,
    net::held,
};

pub(super) async fn execute(places: &Places) -> Result<(), Failure> {
    let detached = match Client::new(&places.run_dir).detach().await {
        Ok(detached) => detached,
        Err(ClientError::Unreachable { .. }) => Detached {
            addresses: held::remove_held().await.map_err(Failure::failed)?,
            interfaces: Datapath::remove(&places.run_dir).map_err(Failure::failed)?,
        },
        Err(error) => return Err(error.into()),
    };
    let run_dir = places.run_dir.display();
    if detached.interfaces.is_empty() && detached.addresses.is_empty() {
        return print_text(&format!("nothing is attached or pinned below {run_dir}"));
    }
    print_text(&format!(
        "{detached} and removed all pinned state below {run_dir}"
    ))
}
