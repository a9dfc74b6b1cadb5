//! The system calls that a worker's processes may make once they run a program: what memory, forks and the socket to
//! the node need. No files, no network, no new programs, no code that was not in the executable. Any other call ends
//! the process by `SIGSYS`, which is no outcome.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Calls that are allowed whatever their arguments are.
const ALLOWED: [i64; 30] = [
    // The socket, and pipes to twins and copies.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    // Files of data that the node hands over.
    libc::SYS_recvmsg,
    libc::SYS_pread64,
    libc::SYS_pipe2,
    libc::SYS_close,
    // Copies of the process, and their end.
    libc::SYS_wait4,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_brk,
    // What it used.
    libc::SYS_getrusage,
    // Clocks, locks, signals and random seeds of the standard library.
    libc::SYS_clock_gettime,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getrandom,
    libc::SYS_fcntl,
];

/// Flags of a fork that would share memory or files, or make namespaces.
const NO_FORK: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Confines the calling process and those that it forks; false where the kernel or the processor has no such filter.
pub(super) fn confine() -> io::Result<bool> {
    let Ok(target) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(false) };
    let program = filter(target).map_err(io::Error::other)?;
    match seccompiler::apply_filter(&program) {
        Ok(()) => Ok(true),
        // A kernel without it says so by these.
        Err(seccompiler::Error::Prctl(cause) | seccompiler::Error::Seccomp(cause))
            if matches!(cause.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
        {
            Ok(false)
        }
        Err(cause) => Err(io::Error::other(cause)),
    }
}

fn filter(target: TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
    // Allowed if none of these bits is set in the argument.
    let without = |argument: u8, bits: i32| {
        let bits = u64::from(bits as u32);
        let none = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits), 0)?;
        Ok(vec![SeccompRule::new(vec![none])?])
    };
    let only = |argument: u8, value: u64| {
        let same = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
        Ok(vec![SeccompRule::new(vec![same])?])
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, without(0, NO_FORK)?);
    rules.insert(libc::SYS_mmap, without(2, libc::PROT_EXEC)?);
    rules.insert(libc::SYS_mprotect, without(2, libc::PROT_EXEC)?);
    // Its own limits, of which the hard ones are set; its own abort. Nobody else's.
    rules.insert(libc::SYS_prlimit64, only(0, 0)?);
    rules.insert(libc::SYS_tgkill, only(2, libc::SIGABRT as u64)?);
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, target)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    use super::*;

    /// How a process ends that is confined and then does something.
    fn end_of(what: fn() -> i64) -> Option<i32> {
        let mut command = Command::new("/no/such/program");
        unsafe {
            command.pre_exec(move || {
                if !confine()? {
                    libc::raise(libc::SIGUSR1);
                }
                what();
                libc::_exit(0)
            });
        }
        command.status().ok()?.signal()
    }

    #[test]
    fn what_a_worker_has_no_use_for_ends_it() {
        let forbidden: [fn() -> i64; 9] = [
            || unsafe { libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY).into() },
            || unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0).into() },
            || unsafe { libc::execv(c"/bin/true".as_ptr(), std::ptr::null()).into() },
            || unsafe { libc::kill(1, 0).into() },
            || unsafe { libc::syscall(libc::SYS_tgkill, libc::getppid(), libc::getppid(), libc::SIGTERM) },
            || unsafe {
                libc::prlimit(libc::getppid(), libc::RLIMIT_CPU, std::ptr::null(), std::ptr::null_mut()).into()
            },
            || unsafe { libc::unshare(libc::CLONE_NEWUSER).into() },
            || unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) },
            || unsafe {
                let protection = libc::PROT_READ | libc::PROT_EXEC;
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) as i64
            },
        ];
        for (number, what) in forbidden.into_iter().enumerate() {
            assert_eq!(end_of(what), Some(libc::SIGSYS), "number {number}");
        }
        assert_eq!(end_of(|| unsafe { libc::getpid().into() }), None, "what is allowed goes on");
    }
}
