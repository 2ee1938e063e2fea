//! Pages as blocks of code, with what stands above each.

use std::fmt::{self, Display, Formatter};

pub(crate) struct Page {
    pub(crate) file: String,
    pub(crate) blocks: Vec<Block>,
    /// Files of the repository that it links to, as they stand there, without anchors.
    pub(crate) links: Vec<String>,
}

/// What is between two fences.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) file: String,
    /// Of the fence, from 1.
    pub(crate) line: usize,
    /// The word behind the fence, or none.
    pub(crate) kind: String,
    /// The comment above, without its marks.
    pub(crate) note: Option<String>,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn read(file: &str, text: &str) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        let mut links = Vec::new();
        let mut open = false;
        let mut before = "";
        for (number, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), open) {
                (Some(kind), false) => {
                    open = true;
                    blocks.push(Block {
                        file: file.to_owned(),
                        line: number + 1,
                        kind: kind.trim().to_owned(),
                        note: note(before),
                        text: String::new(),
                    });
                }
                (Some(_), true) => open = false,
                (None, true) => {
                    let block = blocks.last_mut().expect("one was begun");
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, false) => links.extend(links_of(line)),
            }
            if !line.trim().is_empty() {
                before = line;
            }
        }
        assert!(!open, "{file}: a block is not closed");
        Self {
            file: file.to_owned(),
            blocks,
            links,
        }
    }
}

fn note(line: &str) -> Option<String> {
    let inside = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    Some(inside.trim().to_owned())
}

/// `[words](target)` of this repository.
fn links_of(line: &str) -> Vec<String> {
    (line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .map(str::to_owned)
        .collect()
}

impl Display for Block {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

#[test]
fn pages_are_read() {
    let page = Page::read(
        "p.md",
        "see [this](a/b.md#part) and [that](https://x)\n<!-- exits: 3 -->\n```sh\ndivvy [x](no)\n```\n\n```\ntext\n```\n",
    );
    assert_eq!(page.links, ["a/b.md"]);
    let blocks: Vec<_> = (page.blocks.iter())
        .map(|b| (b.line, &*b.kind, b.note.as_deref(), &*b.text))
        .collect();
    assert_eq!(
        blocks,
        [
            (3, "sh", Some("exits: 3"), "divvy [x](no)\n"),
            (7, "", None, "text\n")
        ]
    );
}
