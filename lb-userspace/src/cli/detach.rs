//! `divvy detach`: takes the program off and removes all pinned state. A running daemon does it
//! itself and ends; without one it is done here.

use super::{Failure, Places, print_text};
use crate::{
    api::client::{Client, ClientError},
    datapath::Datapath,
};

pub(super) async fn execute(places: &Places) -> Result<(), Failure> {
    let interfaces = match Client::new(&places.run_dir).detach().await {
        Ok(detached) => detached.interfaces,
        Err(ClientError::Unreachable { .. }) => {
            Datapath::remove(&places.run_dir).map_err(Failure::failed)?
        }
        Err(error) => return Err(error.into()),
    };
    if interfaces.is_empty() {
        return print_text(&format!(
            "nothing is attached or pinned below {}",
            places.run_dir.display()
        ));
    }
    print_text(&format!(
        "took the program off {} and removed all pinned state below {}",
        interfaces.join(", "),
        places.run_dir.display()
    ))
}
