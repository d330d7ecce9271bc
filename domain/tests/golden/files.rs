//! Events as the log holds them: one file a variant and version, which must decode for ever.
//!
//! `UPDATE_GOLDEN=1 cargo test -p domain` writes the files that are missing, and no others: a
//! file that exists is what some log holds. When a shape gets a second version, its first
//! file stays, with the value that it must then decode to.

use std::path::PathBuf;

use cqrs_es::DomainEvent;
use serde_json::Value;

/// The files of the aggregate whose folder this is.
pub(crate) struct Golden(pub(crate) &'static str);

impl Golden {
    fn folder(&self) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests", "golden", self.0].iter().collect()
    }

    fn path(&self, event: &impl DomainEvent) -> PathBuf {
        self.folder().join(format!("{}.v1.json", event.event_type()))
    }

    /// The file's JSON.
    pub(crate) fn json(&self, event: &impl DomainEvent) -> Value {
        let path = self.path(event);
        if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(self.folder()).unwrap();
            let text = serde_json::to_string_pretty(event).unwrap() + "\n";
            std::fs::write(&path, text).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; UPDATE_GOLDEN=1 writes missing files", path.display())
        });
        serde_json::from_str(&text).unwrap()
    }

    /// What the log holds is understood.
    pub(crate) fn are_understood(&self, events: &[impl DomainEvent]) {
        for event in events {
            assert_eq!(read(self.json(event), event), *event, "{}", self.path(event).display());
        }
    }

    /// What is written has the shape of the log.
    pub(crate) fn are_written(&self, events: &[impl DomainEvent]) {
        for event in events {
            let written = serde_json::to_value(event).unwrap();
            assert_eq!(written, self.json(event), "{}", self.path(event).display());
        }
    }

    /// No file belongs to no event.
    pub(crate) fn are_all_of(&self, events: &[impl DomainEvent]) {
        let expected: Vec<PathBuf> = events.iter().map(|event| self.path(event)).collect();
        for file in std::fs::read_dir(self.folder()).unwrap() {
            let file = file.unwrap().path();
            assert!(expected.contains(&file), "{} belongs to no event", file.display());
        }
    }
}

/// `json` as an event of `_like`'s type.
fn read<E: DomainEvent>(json: Value, _like: &E) -> E {
    serde_json::from_value(json).unwrap()
}
