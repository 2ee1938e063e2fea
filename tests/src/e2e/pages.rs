//! What a run writes into the documentation: a section of `docs/performance.md` between two markers, and the
//! chart beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{chart::chart, report::Report};

const BEGIN: &str = "<!-- written by `cargo xtask bench e2e --write-docs` -->";
const END: &str = "<!-- end of what was written -->";

/// Which files.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Holds both markers.
    pub page: PathBuf,
    /// In the same folder.
    pub chart: PathBuf,
}

impl Pages {
    /// Those of the repository that this program was built from.
    #[must_use]
    pub fn of_the_repository() -> Self {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        Self {
            page: docs.join("performance.md"),
            chart: docs.join("performance-e2e.svg"),
        }
    }
}

/// Writes both.
///
/// # Errors
/// When the page lacks a marker, or a file cannot be written.
pub fn write_docs(report: &Report, pages: &Pages, date: &str) -> Result<()> {
    let Pages { page, chart: file } = pages;
    let text =
        fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let section = format!(
        "{date}: {}\n\n![What each way gives, as bars]({name})\n\n{}",
        report.conditions(),
        report.table()
    );
    let text = replaced(&text, &section).with_context(|| {
        format!(
            "{} has no lines `{BEGIN}` and, after it, `{END}`",
            page.display()
        )
    })?;
    for (file, text) in [(page, text), (file, chart(report))] {
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The page with another section between its markers.
fn replaced(page: &str, section: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{section}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let page = format!("# Page\n\n{BEGIN}\nold\n{END}\n\nmore\n");
        let once = replaced(&page, "new\n").expect("has markers");
        assert_eq!(once, format!("# Page\n\n{BEGIN}\nnew\n{END}\n\nmore\n"));
        assert_eq!(replaced(&once, "new\n").as_ref(), Some(&once));
        assert_eq!(replaced("# Page\n", "new\n"), None);
        assert_eq!(replaced(&format!("{END}{BEGIN}"), "new\n"), None);
    }

    #[test]
    fn the_repository_has_the_page_with_its_markers() {
        let page = fs::read_to_string(Pages::of_the_repository().page).expect("it is there");
        assert!(replaced(&page, "").is_some());
    }
}
