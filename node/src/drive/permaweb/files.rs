//! Files of data on disk, named by what fixes their bytes: equal data of two transactions is kept once. A file has its
//! name when all of it is there and was checked; until then it ends in `.part` or `.whole`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ao_protocol::reference::{Named, Seal};

use crate::drive::room;
use crate::store::DataRoot;
use crate::vm::DataSource;

/// What the names of files end in that are not whole: those that come piece by piece, and those that come in one.
const PART: &str = "part";
const WHOLE: &str = "whole";
/// Bytes that a file counts for at least: so many files as there can be of one byte are too many.
const LEAST_BYTES: u64 = 4096;

/// The files of a node.
pub(super) struct Files {
    folder: PathBuf,
    /// Most bytes of them all.
    limit: u64,
    /// Names of those that were checked since the node started.
    checked: Mutex<BTreeSet<String>>,
    /// What is being fetched, and its bytes: there is room for it, and nobody takes it away.
    reserved: Mutex<BTreeMap<String, u64>>,
}

/// Room for a file that is being fetched, until it is dropped.
pub(super) struct Reservation<'a> {
    files: &'a Files,
    name: String,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.files.reserved().remove(&self.name);
    }
}

/// What data is called on disk.
pub(super) fn name(named: &Named) -> String {
    match named.seal {
        Seal::Root(root) => format!("root-{root}-{}", named.size),
        Seal::Sha384(hash) => format!("sha384-{hash}-{}", named.size),
    }
}

/// The root that a file's name says, if it is one of a root.
fn root_of(name: &str) -> Option<DataRoot> {
    let name = name.strip_prefix("root-")?.split('.').next()?;
    let (root, size) = (name.get(..43)?, name.get(44..)?);
    Some(DataRoot { root: root.parse().ok()?, size: size.parse().ok()? })
}

/// Whether something was done, or there was nothing to do it to.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

impl Files {
    /// The files in a folder, which is made if need be.
    pub(super) fn open(folder: PathBuf, limit: u64) -> io::Result<Files> {
        fs::create_dir_all(&folder)?;
        Ok(Files { folder, limit, checked: Mutex::default(), reserved: Mutex::default() })
    }

    fn checked(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserved(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where all of it is.
    pub(super) fn path(&self, named: &Named) -> PathBuf {
        self.folder.join(name(named))
    }

    /// Where its pieces are as long as it is not whole.
    pub(super) fn part(&self, named: &Named) -> PathBuf {
        self.path(named).with_added_extension(PART)
    }

    /// Where it comes in one stream.
    pub(super) fn whole(&self, named: &Named) -> PathBuf {
        self.path(named).with_added_extension(WHOLE)
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

    /// Gives a file that is whole and was checked its name, durably.
    pub(super) fn finish(&self, named: &Named, from: &Path) -> io::Result<()> {
        File::open(from)?.sync_all()?;
        fs::rename(from, self.path(named))?;
        File::open(&self.folder)?.sync_all()?;
        self.is_checked(named);
        Ok(())
    }

    /// Removes what there is of it.
    pub(super) fn remove(&self, named: &Named) -> io::Result<()> {
        self.checked().remove(&name(named));
        [self.path(named), self.part(named), self.whole(named)].iter().try_for_each(|path| gone(fs::remove_file(path)))
    }

    /// Reserves room for a file that is to be fetched, and takes it from what was not read for longest; whose pieces
    /// are gone then. An error says why there is no room.
    pub(super) fn reserve(&self, wanted: &Named) -> Result<(Reservation<'_>, Vec<DataRoot>), String> {
        if wanted.size > self.limit {
            let limit = self.limit;
            return Err(format!("it exceeds the {limit} bytes that this node keeps of such data (--data-bytes)"));
        }
        let own = name(wanted);
        let mut reserved = self.reserved();
        let files = self.list().map_err(|cause| format!("{} can't be read: {cause}", self.folder.display()))?;
        let named = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_string();
        let is_own = |path: &Path| named(path) == own;
        let mut others: Vec<_> = files
            .iter()
            .filter(|(path, ..)| !is_own(path) && !reserved.contains_key(&named(path)))
            .map(|(path, bytes, used)| (path, (*bytes).max(LEAST_BYTES), *used))
            .collect();
        others.sort_by_key(|(_, _, used)| *used);
        let under_way: u64 = reserved.values().sum();
        let mut bytes: u64 = others.iter().map(|(_, bytes, _)| bytes).sum::<u64>().saturating_add(under_way);
        let (mut oldest, mut roots) = (others.into_iter(), Vec::new());
        while bytes.saturating_add(wanted.size) > self.limit {
            let Some((path, freed, _)) = oldest.next() else {
                return Err("other data that is on its way here takes all room for such data (--data-bytes)".into());
            };
            // A worker that has it open reads on.
            let name = named(path);
            self.checked().remove(&name);
            gone(fs::remove_file(path)).map_err(|cause| format!("{} can't be removed: {cause}", path.display()))?;
            roots.extend(root_of(&name));
            bytes = bytes.saturating_sub(freed);
        }
        let there = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
        let more = wanted.size.saturating_sub(there(self.part(wanted))).saturating_add(under_way);
        if let Some(cause) = room::lack(&self.folder, room::MIN_FREE_BYTES.saturating_add(more)) {
            return Err(cause);
        }
        reserved.insert(own.clone(), wanted.size);
        Ok((Reservation { files: self, name: own }, roots))
    }

    /// Every file, its bytes, and when it was used.
    fn list(&self) -> io::Result<Vec<(PathBuf, u64, SystemTime)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // It may be renamed meanwhile.
            if let Ok(metadata) = entry.metadata() {
                files.push((entry.path(), metadata.len(), metadata.modified()?));
            }
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

    fn keep(files: &Files, named: &Named) -> Vec<DataRoot> {
        let (_room, roots) = files.reserve(named).unwrap();
        fs::write(files.part(named), vec![0; named.size as usize]).unwrap();
        files.finish(named, &files.part(named)).unwrap();
        roots
    }

    #[test]
    fn only_what_is_whole_and_checked_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let one = named(1, 10);
        let files = Files::open(folder.path().to_path_buf(), 100_000).unwrap();
        fs::write(files.part(&one), [0; 10]).unwrap();
        assert!(files.get(&one).is_none());
        files.finish(&one, &files.part(&one)).unwrap();
        assert!(files.get(&one).is_some() && files.get(&Named { id: Id::from([9; 32]), ..one }).is_some());
        // The next start checks again.
        let files = Files::open(folder.path().to_path_buf(), 100_000).unwrap();
        assert!(files.get(&one).is_none());
        files.is_checked(&one);
        assert!(files.get(&one).is_some());
        fs::write(files.path(&one), [0; 9]).unwrap();
        assert!(files.get(&one).is_none());
        files.remove(&one).unwrap();
        files.remove(&one).unwrap();
        assert_eq!(files.bytes(), 0);
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path().to_path_buf(), 100_000).unwrap();
        let [one, two, three] = [1, 2, 3].map(|n| named(n, 40_000));
        for (n, named) in [&one, &two].into_iter().enumerate() {
            assert_eq!(keep(&files, named), []);
            let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
            File::open(files.path(named)).unwrap().set_modified(then).unwrap();
        }
        let open = files.get(&one).unwrap();
        assert_eq!(keep(&files, &three), [DataRoot { root: Digest::from([2; 32]), size: 40_000 }]);
        assert!(files.get(&one).is_some() && files.get(&two).is_none() && files.get(&three).is_some());
        assert_eq!((files.bytes(), open.metadata().unwrap().len()), (80_000, 40_000));
        let cause = files.reserve(&named(4, 100_001)).map(drop).unwrap_err();
        assert!(cause.contains("exceeds"), "{cause}");
    }

    #[test]
    fn what_is_on_its_way_has_its_room() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path().to_path_buf(), 100_000).unwrap();
        let [one, two, three] = [1, 2, 3].map(|n| named(n, 50_000));
        keep(&files, &three);
        let (first, none) = files.reserve(&one).unwrap();
        fs::write(files.part(&one), [0; 10]).unwrap();
        assert_eq!(none, []);
        // The part of another is not taken away for this one.
        let (second, roots) = files.reserve(&two).unwrap();
        assert_eq!((roots.len(), files.part(&one).exists()), (1, true));
        assert!(files.reserve(&three).map(drop).unwrap_err().contains("on its way"));
        drop((first, second));
        // What was given up is no better than any other.
        let roots = keep(&files, &named(4, 99_000));
        assert_eq!(
            (roots, files.part(&one).exists()),
            (vec![DataRoot { root: Digest::from([1; 32]), size: 50_000 }], false)
        );
    }
}
