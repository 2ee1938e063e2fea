//! The programs that `bench e2e` compares divvy with, unpacked into `.tools/rivals`: installed as packages,
//! HAProxy and nginx would run on the host from then on.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use ebpf_build::workspace_root;

use super::debian;

/// Package, what shows that it is unpacked, purpose.
const RIVALS: [(&str, &str, &str); 4] = [
    ("nftables", "usr/sbin/nft", "DNAT in the kernel"),
    ("haproxy", "usr/sbin/haproxy", "a proxy in mode tcp"),
    ("nginx", "usr/sbin/nginx", "a proxy of streams"),
    (
        "libnginx-mod-stream",
        "usr/lib/nginx/modules/ngx_stream_module.so",
        "which is a module of nginx",
    ),
];

/// Unpacks them with the libraries that the host lacks, unless that was done before.
pub(crate) fn unpack() -> Result<()> {
    let folder = workspace_root().join(".tools/rivals");
    if RIVALS
        .iter()
        .all(|(_, file, _)| folder.join(file).is_file())
    {
        return Ok(());
    }
    if !debian::is_here() {
        let names: Vec<&str> = RIVALS.iter().map(|(name, ..)| *name).collect();
        bail!(
            "on Debian this command unpacks {} into {}; here, please put their files there",
            names.join(", "),
            folder.display()
        );
    }
    let mut packages = BTreeSet::new();
    for (name, _, purpose) in RIVALS {
        println!("unpacking {name} into .tools/rivals: {purpose}, for the comparison");
        packages.insert(name.to_owned());
        packages.extend(debian::missing_for(name)?);
    }
    let packages: Vec<String> = packages.into_iter().collect();
    debian::unpack(&packages, &folder)
}
