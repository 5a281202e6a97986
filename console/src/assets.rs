//! What the pages are made of.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

pub(crate) const CONSOLE: &str = "index.html";
pub(crate) const DOCS: &str = "docs.html";

/// A file of `assets/`.
pub(crate) struct Asset {
    /// Below `assets/`, and below `/console/`.
    pub path: &'static str,
    pub text: &'static str,
}

macro_rules! assets {
    ($($path:literal),+ $(,)?) => {
        &[$(Asset { path: $path, text: include_str!(concat!("../assets/", $path)) }),+]
    };
}

/// Every one of them; a test compares this list with the directory.
pub(crate) const ALL: &[Asset] = assets![
    "alarms.js",
    "api.js",
    "app.js",
    "docs.html",
    "docs.js",
    "dom.js",
    "events.js",
    "format.js",
    "i18n.js",
    "i18n/en.js",
    "i18n/zh.js",
    "icon.svg",
    "index.html",
    "live.js",
    "page.js",
    "pages.js",
    "pages/audit.js",
    "pages/consumers.js",
    "pages/dead-letters.js",
    "pages/dead-letters/bulk.js",
    "pages/dead-letters/letter.js",
    "pages/order.js",
    "pages/orders.js",
    "pages/outbox.js",
    "pages/overview.js",
    "pages/projections.js",
    "pages/redrives.js",
    "pages/rollout.js",
    "pages/rollout/report.js",
    "pages/sagas.js",
    "pages/sign-in.js",
    "pages/stock.js",
    "parts/chart.js",
    "parts/dialog.js",
    "parts/flow.js",
    "parts/frame.js",
    "parts/table.js",
    "parts/time-travel.js",
    "parts/timeline.js",
    "parts/ui.js",
    "session.js",
    "style.css",
    "theme.js",
];

static ENTITY_TAGS: LazyLock<Vec<String>> = LazyLock::new(|| ALL.iter().map(|asset| tag_of(asset.text)).collect());

/// The asset at a path below `/console/`.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
    ALL.iter().find(|asset| asset.path == path)
}

impl Asset {
    pub fn content_type(&self) -> &'static str {
        match self.path.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        }
    }

    /// Made of the content, so that it changes exactly when the content does.
    pub fn entity_tag(&self) -> String {
        let at = ALL.iter().position(|asset| asset.path == self.path);
        at.and_then(|at| ENTITY_TAGS.get(at)).cloned().unwrap_or_else(|| tag_of(self.text))
    }
}

fn tag_of(text: &str) -> String {
    format!("\"{}\"", hex::encode(&Sha256::digest(text.as_bytes())[..16]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn files(directory: &Path, found: &mut BTreeSet<String>, root: &Path) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found, root);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_file_is_served() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let mut written = BTreeSet::new();
        files(&root, &mut written, &root);
        let served: BTreeSet<String> = ALL.iter().map(|asset| asset.path.to_owned()).collect();
        assert_eq!(written, served);
    }

    #[test]
    fn every_module_that_is_imported_is_served() {
        for asset in ALL.iter().filter(|asset| asset.path.ends_with(".js")) {
            let directory = Path::new(asset.path).parent().unwrap();
            for line in asset.text.lines().filter(|line| line.starts_with("import ")) {
                let from = line.rsplit('"').nth(1).unwrap();
                let mut path = directory.to_path_buf();
                for part in from.split('/') {
                    match part {
                        "." => {}
                        ".." => assert!(path.pop(), "{from} in {}", asset.path),
                        name => path.push(name),
                    }
                }
                assert!(find(path.to_str().unwrap()).is_some(), "{from} in {}", asset.path);
            }
        }
    }

    #[test]
    fn no_data_is_parsed_as_html_and_nobody_else_is_asked() {
        for asset in ALL {
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"] {
                assert!(!asset.text.contains(forbidden), "{forbidden} in {}", asset.path);
            }
        }
    }

    #[test]
    fn both_languages_say_the_same_things() {
        let keys = |path: &str| -> Vec<&str> {
            let lines = find(path).unwrap().text.lines();
            lines.filter_map(|line| line.trim().strip_prefix('"')?.split_once("\": \"").map(|(key, _)| key)).collect()
        };
        let (en, zh) = (keys("i18n/en.js"), keys("i18n/zh.js"));
        assert!(en.len() > 100);
        assert_eq!(en, zh);
        assert_eq!(en.iter().collect::<BTreeSet<_>>().len(), en.len(), "no key twice");
    }

    #[test]
    fn every_text_that_is_asked_for_is_there() {
        let known: BTreeSet<&str> = find("i18n/en.js").unwrap().text.split('"').collect();
        for asset in ALL.iter().filter(|asset| asset.path.ends_with(".js")) {
            for asked in asset.text.split(" t(\"").chain(asset.text.split("(t(\"")).skip(1) {
                let key = asked.split('"').next().unwrap();
                let is_key = key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
                assert!(!is_key || known.contains(key), "{key} in {}", asset.path);
            }
        }
    }
}
