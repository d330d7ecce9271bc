//! The layout: one crate a folder, and arrows that point downwards only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What each crate may stand on; crates of tests aside.
const ALLOWED: [(&str, &[&str]); 11] = [
    (
        "server",
        &["api", "workers", "projections", "commands", "broker", "eventstore", "domain", "local"],
    ),
    ("api", &["commands", "projections", "broker", "eventstore", "domain"]),
    ("workers", &["commands", "projections", "broker", "eventstore", "domain"]),
    ("projections", &["broker", "eventstore", "domain"]),
    ("commands", &["eventstore", "domain"]),
    ("broker", &["domain"]),
    ("eventstore", &["domain"]),
    ("domain", &[]),
    ("local", &[]),
    ("tests", &["local"]),
    ("bench", &["tests", "local"]),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn arrows_point_downwards_only() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> =
        packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    assert_eq!(names, allowed.keys().copied().collect(), "every crate has its place");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            let for_tests = dependency["kind"] == "dev";
            let free = !names.contains(on) || for_tests && ["local", "tests"].contains(&on);
            assert!(free || allowed[name].contains(&on), "{name} must not stand on {on}");
        }
    }
}

#[test]
fn every_crate_keeps_the_workspaces_lints() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().unwrap() {
        let manifest = package["manifest_path"].as_str().unwrap();
        let text = std::fs::read_to_string(manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest}");
    }
}

/// Files that begin transactions, each on a connection of its own that no request can drop: what
/// is dropped while it begins one goes back to its pool with the transaction open.
const TRANSACTIONS: [&str; 3] = [
    "projections/src/batch/careful.rs",
    "projections/src/rebuild.rs",
    "projections/src/runner/apply.rs",
];

#[test]
fn nothing_that_a_client_can_cancel_begins_a_transaction() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for (name, _) in ALLOWED.iter().filter(|(name, _)| !["tests", "bench"].contains(name)) {
        sources(&root.join(name).join("src"), &mut |path, text| {
            if text.contains(".begin()") || text.contains(".begin_with(") {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        });
    }
    found.sort();
    assert_eq!(found, TRANSACTIONS);
}

/// Calls `look` with every source file in `folder`.
fn sources(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            look(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}
