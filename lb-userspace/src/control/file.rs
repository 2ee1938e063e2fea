//! Hearing that the configuration file changed (`watch: true`): by inotify, on the folders in which the
//! file lies and those to which links lead, because editors put a new file in its place, and others turn a
//! link. What is written is let settle; what is the same as before is no change.

use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    fs,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tracing::warn;

/// A file is read when nothing happened to it for so long.
const SETTLED: Duration = Duration::from_millis(200);
/// Links that are followed at most, as the kernel does (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;

/// The configuration file, looked after.
pub(super) struct FileWatch {
    path: PathBuf,
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<()>,
    folders: BTreeSet<PathBuf>,
    settles: Option<Instant>,
    /// Hash of what the file held when it was last looked at; `None` for one that could not be read.
    seen: Option<u64>,
}

impl FileWatch {
    /// Looks after this file, which was read at that time.
    ///
    /// # Errors
    /// When the kernel gives no more inotify instances or watches.
    pub(super) fn new(path: &Path, read: SystemTime) -> notify::Result<Self> {
        // A full channel holds news enough.
        let (sender, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let reads = |event: &notify::Event| matches!(event.kind, EventKind::Access(_));
            // What went wrong may have hidden a change.
            if !event.as_ref().is_ok_and(reads) {
                let _ = sender.try_send(());
            }
        })?;
        let modified = fs::metadata(path).and_then(|file| file.modified());
        let is_newer = modified.is_ok_and(|modified| modified > read);
        let mut watch = Self {
            seen: content(path).filter(|_| !is_newer),
            path: path.to_owned(),
            watcher,
            events,
            folders: BTreeSet::new(),
            settles: is_newer.then(Instant::now),
        };
        watch.follow()?;
        Ok(watch)
    }

    /// Ready when the file holds something else than before. May be called again after it was not waited
    /// for.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some(settled) = self.settles else {
                if self.events.recv().await.is_none() {
                    // The watcher's thread is gone: nothing will be heard.
                    std::future::pending::<()>().await;
                }
                self.settles = Some(Instant::now() + SETTLED);
                continue;
            };
            if let Ok(Some(())) = timeout_at(settled, self.events.recv()).await {
                self.settles = Some(Instant::now() + SETTLED);
                continue;
            }
            self.settles = None;
            if let Err(error) = self.follow() {
                warn!("{error}; later changes of it may go unheard");
            }
            let now = content(&self.path);
            // One that is gone for a moment is being replaced.
            if now.is_some() && now != self.seen {
                self.seen = now;
                return;
            }
        }
    }

    /// Watches the folders by which the file is found now.
    fn follow(&mut self) -> notify::Result<()> {
        let wanted = folders_of(&self.path);
        for gone in self.folders.difference(&wanted) {
            // It may no longer exist.
            let _ = self.watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.folders) {
            self.watcher.watch(new, RecursiveMode::NonRecursive)?;
        }
        self.folders = wanted;
        Ok(())
    }
}

/// The folders of a file and of every link on the way to it.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut to_see = vec![std::path::absolute(path).unwrap_or_else(|_| path.to_owned())];
    for _ in 0..MOST_LINKS {
        let Some(path) = to_see.pop() else {
            break;
        };
        // A folder on the way may be a link as well.
        for part in path.ancestors() {
            let Some(folder) = part.parent() else {
                continue;
            };
            if part == path && folder.is_dir() {
                folders.insert(folder.to_owned());
            }
            if let Ok(target) = fs::read_link(part) {
                if folder.is_dir() {
                    folders.insert(folder.to_owned());
                }
                let rest = path.strip_prefix(part).unwrap_or(Path::new(""));
                let target = folder.join(target);
                to_see.push(if rest.as_os_str().is_empty() {
                    target
                } else {
                    target.join(rest)
                });
                break;
            }
        }
    }
    folders
}

fn content(path: &Path) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    fs::read(path).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    /// Longer than what is written takes to settle.
    const NEVER: Duration = Duration::from_millis(600);

    fn put(path: &Path, text: &str) {
        fs::write(path, text).expect("a folder of our own");
    }

    async fn hears(watch: &mut FileWatch) {
        timeout(SOON, watch.changed()).await.expect("a change");
    }

    async fn hears_nothing(watch: &mut FileWatch) {
        let heard = timeout(NEVER, watch.changed()).await;
        assert!(heard.is_err(), "nothing changed");
    }

    #[tokio::test]
    async fn a_file_is_written_or_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("divvy.yaml");
        put(&path, "one");
        let mut watch = FileWatch::new(&path, SystemTime::now()).expect("inotify");
        hears_nothing(&mut watch).await;
        put(&path, "two");
        hears(&mut watch).await;
        // Written after it was read, and before anybody listened.
        let read = SystemTime::now() - SOON;
        let mut late = FileWatch::new(&path, read).expect("inotify");
        hears(&mut late).await;
        drop(late);
        // As editors do.
        let beside = folder.path().join(".divvy.yaml.swp");
        put(&beside, "three");
        fs::rename(&beside, &path).expect("the same folder");
        hears(&mut watch).await;
        // Neither another file nor the same again.
        put(&beside, "other");
        put(&path, "three");
        hears_nothing(&mut watch).await;
        fs::remove_file(&path).expect("it is there");
        hears_nothing(&mut watch).await;
        put(&path, "four");
        hears(&mut watch).await;
    }

    #[tokio::test]
    async fn a_link_on_the_way_is_turned() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("v1", "one"), ("v2", "two")] {
            fs::create_dir(at(version)).expect("a folder");
            put(&at(version).join("divvy.yaml"), text);
        }
        // As orchestrators mount configuration: a link to a folder, which is replaced whole.
        symlink("v1", at("data")).expect("a link");
        symlink("data/divvy.yaml", at("divvy.yaml")).expect("a link");
        let mut watch = FileWatch::new(&at("divvy.yaml"), SystemTime::now()).expect("inotify");
        hears_nothing(&mut watch).await;
        symlink("v2", at("data_next")).expect("a link");
        fs::rename(at("data_next"), at("data")).expect("the same folder");
        hears(&mut watch).await;
        // From now on the other one counts.
        put(&at("v1").join("divvy.yaml"), "elsewhere");
        hears_nothing(&mut watch).await;
        put(&at("v2").join("divvy.yaml"), "three");
        hears(&mut watch).await;
    }
}
