//! Kernel modules with what they need. Debian's package holds no index of them, which is made where it is
//! installed; each module names what it needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// A module's name and bytes, for each of these modules and what they need, in an order in which they
/// can be loaded.
pub(super) fn with_needs(folder: &Path, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = BTreeMap::new();
    index(&folder.join("kernel"), &mut files)?;
    let builtin = folder.join("modules.builtin");
    let builtin = fs::read_to_string(&builtin)
        .with_context(|| format!("cannot read {}", builtin.display()))?;
    let mut seen = (builtin.lines())
        .filter_map(|line| name_of(Path::new(line)))
        .collect();
    let mut modules = Vec::new();
    for name in wanted {
        load(name, &files, &mut seen, &mut modules)?;
    }
    Ok(modules)
}

fn load(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    seen: &mut BTreeSet<String>,
    modules: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let path = files
        .get(name)
        .with_context(|| format!("this kernel has no module {name}"))?;
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        bytes.starts_with(b"\x7fELF"),
        "{} is compressed",
        path.display()
    );
    for need in needs(&bytes) {
        load(&need, files, seen, modules)?;
    }
    modules.push((name.to_owned(), bytes));
    Ok(())
}

/// What the module's information says: strings `key=value`, each ended by a zero.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..].split(|&byte| byte == 0).next();
    String::from_utf8_lossy(value.unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

fn index(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            index(&path, files)?;
        } else if let Some(name) = name_of(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// A module's name by its file: the kernel takes `-` for `_`.
fn name_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".ko")?;
    Some(name.replace('-', "_"))
}
