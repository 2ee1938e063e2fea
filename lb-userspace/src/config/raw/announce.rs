//! The key `announce`: what of the vips is told to the network.

use crate::config::{field::Field, parsed::Announce, units};

/// Reads it.
pub(super) fn announce(field: &Field<'_>) -> Option<Announce> {
    let mut keys = field.section()?;
    let addresses = keys.optional("addresses", false, |field| field.switch());
    let interface = keys.optional("interface", None, |field| {
        field.text(units::interface).map(Some)
    });
    keys.finish();
    Some(Announce {
        addresses: addresses?,
        interface: interface?,
    })
}
