//! NATS, killed and robbed of what it kept.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::faults::World;
use crate::faults::check::created;

use super::proof;

/// A hole in a block file.
const HOLE: u64 = 2048;

impl World {
    /// Kills NATS, and starts it on an empty store.
    pub async fn wipe_nats(&mut self) {
        self.note("wipe NATS");
        let before = created(self).await;
        self.kill_nats().await;
        self.cluster.nats.delete_store().unwrap();
        self.cluster.nats.start_again().await.unwrap();
        let after = created(self).await;
        let another = before.is_none() || before != after;
        assert!(another, "the fault: the stream was kept: {before:?}");
    }

    /// Kills NATS, which stays away.
    pub async fn kill_nats(&mut self) {
        self.note("kill NATS");
        let pid = self.cluster.nats.pid().expect("NATS runs");
        self.cluster.nats.kill().await.unwrap();
        assert!(!proof::exists(pid), "the fault: NATS is still there");
    }

    /// Lets NATS stand still.
    pub async fn pause_nats(&mut self) {
        self.note("pause NATS");
        self.cluster.nats.pause().await.unwrap();
        let pid = self.cluster.nats.pid().expect("NATS runs");
        assert!(proof::stands_still(pid), "the fault: NATS runs on");
    }

    /// Kills NATS, and takes the last `bytes` of each block file from it: what it had
    /// acknowledged before they were on the disk.
    pub async fn truncate_nats(&mut self, bytes: u64) {
        self.note(&format!("truncate NATS by {bytes}"));
        self.harm_blocks(|file, length| file.set_len(length.saturating_sub(bytes)).unwrap()).await;
    }

    /// Kills NATS, and overwrites the middle of each block file with zeros.
    pub async fn hole_in_nats(&mut self) {
        self.note("hole in NATS");
        self.harm_blocks(|file, length| {
            let hole = HOLE.min(length / 2);
            file.seek(SeekFrom::Start((length - hole) / 2)).unwrap();
            file.write_all(&vec![0; usize::try_from(hole).unwrap()]).unwrap();
        })
        .await;
    }

    async fn harm_blocks(&mut self, harm: impl Fn(&mut File, u64)) {
        self.kill_nats().await;
        let nats = &mut self.cluster.nats;
        let mut blocks = Vec::new();
        find_blocks(&nats.store_dir(), &mut blocks);
        assert!(!blocks.is_empty(), "a store without blocks cannot be harmed");
        let mut harmed = 0;
        for path in blocks {
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            let length = file.metadata().unwrap().len();
            if length > 0 {
                harm(&mut file, length);
                harmed += 1;
            }
        }
        assert!(harmed > 0, "the fault: there was nothing to lose");
        nats.start_again().await.unwrap();
    }
}

fn find_blocks(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_blocks(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "blk") {
            found.push(path);
        }
    }
}
