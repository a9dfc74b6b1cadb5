//! TUN devices: what a host sends comes out of a file, packet by packet, and what is written into it arrives there.
//! See the kernel's `Documentation/networking/tuntap.rst`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Command;

/// `struct ifreq` as far as it is used here: a name and flags.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// Makes a device with this name in the network namespace of this process.
pub(super) fn open(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request =
        Request { name: [0; 16], flags: (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short, rest: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the request is as large as the kernel's `struct ifreq`, and lives until the call returns.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// Gives a device its address, in the network namespace of another process if one is named, and takes it into use.
pub(super) fn configure(name: &str, address: &str, namespace: Option<u32>) {
    let run = |command: &[&str]| {
        let status = Command::new(command[0]).args(&command[1..]).status();
        assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
    };
    let target = namespace.map(|pid| pid.to_string());
    if let Some(pid) = &target {
        run(&["ip", "link", "set", name, "netns", pid]);
    }
    let inside = |command: &[&str]| match &target {
        Some(pid) => run(&[&["nsenter", "--net", "--target", pid, "--"], command].concat()),
        None => run(command),
    };
    inside(&["ip", "addr", "add", &format!("{address}/24"), "dev", name]);
    inside(&["ip", "link", "set", name, "up"]);
    inside(&["ip", "link", "set", "lo", "up"]);
}
