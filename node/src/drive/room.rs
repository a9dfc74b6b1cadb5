//! Room on the disk. A node stops taking new things in while there is still room for what is under way: whoever sends
//! them hears why, nothing is half written, and it goes on by itself when there is room again.

use std::path::Path;

/// Bytes that are kept free on the disk of the log: with less, nothing new is scheduled or uploaded here.
pub const MIN_FREE_BYTES: u64 = 64 * 1024 * 1024;
/// With less than this, nothing is taken over from peers or computed either.
pub const MIN_FREE_BYTES_TO_FOLLOW: u64 = MIN_FREE_BYTES / 2;

/// Why there is too little room in a folder to write more, if there is: fewer bytes free than `least`. A disk that
/// can't be asked is taken to have room; writing then tells.
pub fn lack(folder: &Path, least: u64) -> Option<String> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let mib = |bytes: u64| bytes / (1024 * 1024);
    (free < least).then(|| {
        format!(
            "the disk of this node is full: {} MiB are free, and {} MiB are kept for what is under way; once there is \
             room it goes on by itself",
            mib(free),
            mib(least)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(lack(folder.path(), 1), None);
        let said = lack(folder.path(), u64::MAX).unwrap();
        assert!(said.contains("disk") && said.contains("MiB are free"), "{said}");
        assert_eq!(lack(Path::new("/nowhere/at/all"), u64::MAX), None);
    }
}
