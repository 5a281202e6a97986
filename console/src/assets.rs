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
    "parts/measured.js",
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

    /// Lines of Rust of the workspace below a path, without tests.
    fn lines_of(path: &str) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        let mut found = BTreeSet::new();
        files(&root, &mut found, &root);
        let rust = found.iter().filter(|file| file.ends_with(".rs") && !file.contains("tests"));
        let texts = rust.map(|file| std::fs::read_to_string(root.join(file)).unwrap());
        let own = |text: String| text.split("#[cfg(test)]").next().unwrap().to_owned();
        texts.flat_map(|text| own(text).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// The codes in a line: literals of small letters, with one of these between the words.
    fn codes(line: &str, between: char) -> impl Iterator<Item = String> {
        let literals: Vec<String> = line.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        literals.into_iter().filter(move |text| {
            let is_word = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
            text.contains(between) && text.chars().all(is_word) && (between == '.' || !text.contains('.'))
        })
    }

    fn assert_each_has_a_text(prefix: &str, codes: &BTreeSet<String>, at_least: usize) {
        assert!(codes.len() >= at_least, "these were found: {codes:?}");
        let text = find("i18n/en.js").unwrap().text;
        for code in codes {
            assert!(text.contains(&format!("\"{prefix}.{code}\":")), "{prefix}.{code} has no text");
        }
    }

    #[test]
    fn every_audited_action_has_a_name() {
        let mut actions = BTreeSet::new();
        for room in ["api/src", "processors/src", "rollout/src", "src", "projections/src", "outbox-relay/src"] {
            let audited = |line: &&String| line.contains("action") || line.contains("actor");
            actions.extend(lines_of(room).iter().filter(audited).flat_map(|line| codes(line, '.')));
        }
        assert_each_has_a_text("action", &actions, 14);
    }

    #[test]
    fn every_reason_of_an_order_has_a_text() {
        let mut reasons = BTreeSet::new();
        for room in ["domain/src/order", "processors/src/commands", "api/src"] {
            let is_reason = |line: &&String| {
                let is_constant = line.contains(": &str = \"") && !line.contains("ledger_") && room != "api/src";
                let is_given =
                    ["reason: \"", "compensate(", "refuse(", "REASON: &str"].iter().any(|one| line.contains(one));
                is_constant || is_given
            };
            reasons.extend(lines_of(room).iter().filter(is_reason).flat_map(|line| codes(line, '_')));
        }
        assert_each_has_a_text("reason", &reasons, 9);
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
