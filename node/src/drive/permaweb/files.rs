//! Files of data on disk, named by what fixes their bytes: equal data of two transactions is kept once. A file has its
//! name when all of it is there and was checked; until then it ends in `.part`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ao_protocol::reference::{Named, Seal};

use crate::drive::room;
use crate::vm::DataSource;

/// What the names of files end in that are not whole.
const PART: &str = "part";

/// The files of a node.
pub(super) struct Files {
    folder: PathBuf,
    /// Most bytes of them all.
    limit: u64,
    /// Names of those that were checked since the node started.
    checked: Mutex<BTreeSet<String>>,
}

/// What data is called on disk.
pub(super) fn name(named: &Named) -> String {
    match named.seal {
        Seal::Root(root) => format!("root-{root}-{}", named.size),
        Seal::Sha384(hash) => format!("sha384-{hash}-{}", named.size),
    }
}

impl Files {
    /// The files in a folder, which is made if need be.
    pub(super) fn open(folder: PathBuf, limit: u64) -> io::Result<Files> {
        fs::create_dir_all(&folder)?;
        Ok(Files { folder, limit, checked: Mutex::default() })
    }

    fn checked(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where all of it is.
    pub(super) fn path(&self, named: &Named) -> PathBuf {
        self.folder.join(name(named))
    }

    /// Where it is as long as it is not whole.
    pub(super) fn part(&self, named: &Named) -> PathBuf {
        self.path(named).with_added_extension(PART)
    }

    /// All of it, if it is here and was checked.
    pub(super) fn get(&self, named: &Named) -> Option<File> {
        if !self.checked().contains(&name(named)) {
            return None;
        }
        let file = File::open(self.path(named)).ok()?;
        let whole = file.metadata().is_ok_and(|metadata| metadata.len() == named.size);
        // What is used is not removed when there is need of room.
        let _ = file.set_modified(SystemTime::now());
        whole.then_some(file)
    }

    /// What is on disk under its name was checked.
    pub(super) fn is_checked(&self, named: &Named) {
        self.checked().insert(name(named));
    }

    /// Gives a file that is whole its name, durably.
    pub(super) fn finish(&self, named: &Named) -> io::Result<()> {
        let part = self.part(named);
        File::open(&part)?.sync_all()?;
        fs::rename(&part, self.path(named))?;
        File::open(&self.folder)?.sync_all()?;
        self.is_checked(named);
        Ok(())
    }

    /// Removes what there is of it.
    pub(super) fn remove(&self, named: &Named) -> io::Result<()> {
        self.checked().remove(&name(named));
        for path in [self.path(named), self.part(named)] {
            match fs::remove_file(path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes room for so many bytes by removing what was not read for longest. An error says why there is none.
    pub(super) fn make_room(&self, wanted: &Named) -> Result<(), String> {
        if wanted.size > self.limit {
            let limit = self.limit;
            return Err(format!("it exceeds the {limit} bytes that this node keeps of such data (--data-bytes)"));
        }
        let own = [self.path(wanted), self.part(wanted)];
        let files = self.list().map_err(|cause| format!("{} can't be read: {cause}", self.folder.display()))?;
        let mut others: Vec<_> = files.into_iter().filter(|(path, ..)| !own.contains(path)).collect();
        others.sort_by_key(|(_, _, used)| *used);
        let mut bytes: u64 = others.iter().map(|(_, bytes, _)| bytes).sum();
        let mut oldest = others.into_iter();
        while bytes.saturating_add(wanted.size) > self.limit
            && let Some((path, freed, _)) = oldest.next()
        {
            // A worker that has it open reads on.
            self.checked().remove(path.file_name().and_then(|name| name.to_str()).unwrap_or_default());
            fs::remove_file(&path).map_err(|cause| format!("{} can't be removed: {cause}", path.display()))?;
            bytes = bytes.saturating_sub(freed);
        }
        let there = fs::metadata(self.part(wanted)).map_or(0, |part| part.len());
        let more = wanted.size.saturating_sub(there);
        room::lack(&self.folder, room::MIN_FREE_BYTES.saturating_add(more)).map_or(Ok(()), Err)
    }

    /// Every file, its bytes, and when it was used.
    fn list(&self) -> io::Result<Vec<(PathBuf, u64, SystemTime)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            files.push((entry.path(), metadata.len(), metadata.modified()?));
        }
        Ok(files)
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.list().map_or(0, |files| files.iter().map(|(_, bytes, _)| bytes).sum())
    }
}

impl DataSource for Files {
    fn open(&self, named: &Named) -> Option<File> {
        self.get(named)
    }
}

#[cfg(test)]
mod tests {
    use ao_protocol::id::{Digest, Id};

    use super::*;

    fn named(n: u8, size: u64) -> Named {
        Named { id: Id::from([n; 32]), size, seal: Seal::Root(Digest::from([n; 32])) }
    }

    fn keep(files: &Files, named: &Named) {
        files.make_room(named).unwrap();
        fs::write(files.part(named), vec![0; named.size as usize]).unwrap();
        files.finish(named).unwrap();
    }

    #[test]
    fn only_what_is_whole_and_checked_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let one = named(1, 10);
        let files = Files::open(folder.path().to_path_buf(), 100).unwrap();
        fs::write(files.part(&one), [0; 10]).unwrap();
        assert!(files.get(&one).is_none());
        files.finish(&one).unwrap();
        assert!(files.get(&one).is_some() && files.get(&Named { id: Id::from([9; 32]), ..one }).is_some());
        // The next start checks again.
        let files = Files::open(folder.path().to_path_buf(), 100).unwrap();
        assert!(files.get(&one).is_none());
        files.is_checked(&one);
        assert!(files.get(&one).is_some());
        fs::write(files.path(&one), [0; 9]).unwrap();
        assert!(files.get(&one).is_none());
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path().to_path_buf(), 100).unwrap();
        let [one, two, three] = [1, 2, 3].map(|n| named(n, 40));
        for (n, named) in [&one, &two].into_iter().enumerate() {
            keep(&files, named);
            let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
            File::open(files.path(named)).unwrap().set_modified(then).unwrap();
        }
        let open = files.get(&one).unwrap();
        keep(&files, &three);
        assert!(files.get(&one).is_some() && files.get(&two).is_none() && files.get(&three).is_some());
        assert_eq!((files.bytes(), open.metadata().unwrap().len()), (80, 40));
        let cause = files.make_room(&named(4, 101)).unwrap_err();
        assert!(cause.contains("--data-bytes"), "{cause}");
    }
}
