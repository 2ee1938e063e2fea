//! `divvy prepare`: what needs root once, before a daemon runs as a user of its own.

use clap::Args;
use nix::unistd::{Group, User};

use super::{Failure, Places, print_text};
use crate::datapath::Datapath;

#[derive(Debug, Args)]
pub(super) struct Prepare {
    /// Whom the daemon runs as, by name or number; the group is the user's own if omitted.
    #[arg(long, value_name = "USER[:GROUP]")]
    user: String,
}

impl Prepare {
    pub(super) fn execute(&self, places: &Places) -> Result<(), Failure> {
        let (uid, gid) = owner(&self.user).map_err(Failure::failed)?;
        Datapath::prepare(&places.run_dir, uid, gid).map_err(Failure::failed)?;
        print_text(&format!(
            "{} and the bpffs in it belong to {}",
            places.run_dir.display(),
            self.user
        ))
    }
}

/// User and group by their numbers.
fn owner(text: &str) -> Result<(u32, u32), String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let known = match user.parse::<u32>() {
        Ok(uid) => User::from_uid(uid.into()),
        Err(_) => User::from_name(user),
    }
    .ok()
    .flatten();
    let uid = (known.as_ref().map(|user| user.uid.as_raw()))
        .or_else(|| user.parse().ok())
        .ok_or_else(|| {
            format!("no user is called {user}; make it with `useradd --system {user}`")
        })?;
    let gid = match group {
        Some(group) => (group.parse().ok())
            .or_else(|| Some(Group::from_name(group).ok()??.gid.as_raw()))
            .ok_or_else(|| {
                format!("no group is called {group}; make it with `groupadd --system {group}`")
            })?,
        None => known
            .map(|user| user.gid.as_raw())
            .ok_or_else(|| format!("user {user} has no group of its own: write {user}:GROUP"))?,
    };
    Ok((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_have_names_or_numbers() {
        assert_eq!(owner("root"), Ok((0, 0)));
        assert_eq!(owner("0"), Ok((0, 0)));
        assert_eq!(owner("61234:61235"), Ok((61_234, 61_235)));
        assert_eq!(owner("root:61235"), Ok((0, 61_235)));
        for (text, word) in [
            ("no-such-user", "useradd --system no-such-user"),
            ("root:no-such-group", "groupadd --system no-such-group"),
            ("4000000001", "4000000001:GROUP"),
            ("", "useradd"),
        ] {
            let error = owner(text).expect_err(text);
            assert!(error.contains(word), "{error}");
        }
    }
}
