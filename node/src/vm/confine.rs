//! What a worker's processes may do: no inherited files, no new privileges, bounded memory and processor time.

use std::ffi::c_int;
use std::io;

use super::arena::ARENA_BYTES;

/// Address space beyond the interpreter's memory: the executable, messages and outcomes on their way, the stack, and a
/// state on its way out, which a copy may hold twice with what it needs to know of it.
const OVERHEAD_BYTES: u64 = 9 << 30;
/// Open files: the socket, standard error, pipes to twins, and data that is read.
const MAX_FILES: u64 = 48;
/// Stack of a host process. The interpreter's own limit on nested C calls needs a good part of the usual 8 MiB.
const STACK_BYTES: u64 = 16 << 20;
const MIN_STACK_BYTES: u64 = 8 << 20;
/// How nice workers are: the node's own threads go first, however many evaluate.
const NICENESS: c_int = 5;

/// Confines the calling process, and with it everything that it starts.
pub(super) fn confine() -> io::Result<()> {
    // Files above standard error are none of a worker's business, whoever left them open.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) })?;
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
    // Refused by a system that is stricter: then they are as they are.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    // Where the system runs out of memory, workers end before the node. Their states can be computed again.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    limit(libc::RLIMIT_CORE, 0)?;
    limit(libc::RLIMIT_FSIZE, 0)?;
    limit(libc::RLIMIT_NOFILE, MAX_FILES)?;
    let (_, hard) = limits(libc::RLIMIT_STACK)?;
    if hard < MIN_STACK_BYTES {
        return Err(io::Error::other(format!(
            "the hard limit of the stack is {hard} bytes; at least {MIN_STACK_BYTES} are needed (ulimit -Hs)"
        )));
    }
    set_limits(libc::RLIMIT_STACK, STACK_BYTES.min(hard), hard)
}

/// Bounds the address space of a host process. What of its heap it may use is bounded by the heap.
pub(super) fn limit_memory() -> io::Result<()> {
    let wanted = OVERHEAD_BYTES.saturating_add(ARENA_BYTES as u64);
    let (_, hard) = limits(libc::RLIMIT_AS)?;
    if wanted < hard { limit(libc::RLIMIT_AS, wanted) } else { Ok(()) }
}

/// Gives the calling process so many seconds of processor time from now on; then a signal ends it.
pub(super) fn renew_processor_time(seconds: u64) -> io::Result<()> {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    check(unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) }.into())?;
    let used = u64::try_from(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec).unwrap_or(0);
    let (_, hard) = limits(libc::RLIMIT_CPU)?;
    set_limits(libc::RLIMIT_CPU, used.saturating_add(seconds).min(hard), hard)
}

fn limits(resource: libc::__rlimit_resource_t) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    check(unsafe { libc::getrlimit(resource, &mut limit) }.into())?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let (_, hard) = limits(resource)?;
    set_limits(resource, value.min(hard), value.min(hard))
}

fn set_limits(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    check(unsafe { libc::setrlimit(resource, &libc::rlimit { rlim_cur: soft, rlim_max: hard }) }.into())
}

/// The error of a system call that gave a negative number.
pub(super) fn check(result: i64) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
