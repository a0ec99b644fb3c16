#include "linux/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

#include <seccomp.h>

#include "linux/sandbox_landlock.h"

/* The leak checker of an instrumented build stops the process at its end from a child that traces
 * it, and reads what is mapped. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static const int allowed[] = {
	/* files: SQLite, certificates, the log */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
	SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(lseek), SCMP_SYS(close),
	SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(fstat), SCMP_SYS(lstat),
	SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(fstatfs), SCMP_SYS(access),
	SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
	SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
	SCMP_SYS(renameat2), SCMP_SYS(fchmod), SCMP_SYS(fchown), SCMP_SYS(umask),
	SCMP_SYS(getdents64), SCMP_SYS(getcwd), SCMP_SYS(flock), SCMP_SYS(fcntl), SCMP_SYS(dup),
	SCMP_SYS(dup3), SCMP_SYS(pipe2),
	/* memory */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(membarrier),
	/* time */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	/* the loop */
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2), SCMP_SYS(eventfd2), SCMP_SYS(poll), SCMP_SYS(ppoll),
	/* sockets; which may be made stands below */
	SCMP_SYS(connect), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(shutdown),
	SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
	SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg),
	/* itself */
	SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(futex), SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq), SCMP_SYS(restart_syscall), SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(getpid), SCMP_SYS(gettid),
	SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
	SCMP_SYS(getrlimit), SCMP_SYS(getrusage), SCMP_SYS(uname), SCMP_SYS(sysinfo),
	SCMP_SYS(getrandom),
};

static const int deadly[] = {
	SCMP_SYS(execve), SCMP_SYS(execveat),
	SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd),
	SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(bpf), SCMP_SYS(userfaultfd),
	SCMP_SYS(perf_event_open), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root),
	SCMP_SYS(move_mount), SCMP_SYS(chroot), SCMP_SYS(setns), SCMP_SYS(unshare),
	SCMP_SYS(add_key), SCMP_SYS(keyctl), SCMP_SYS(request_key), SCMP_SYS(setuid),
	SCMP_SYS(setgid), SCMP_SYS(setreuid), SCMP_SYS(setresuid), SCMP_SYS(setresgid),
	SCMP_SYS(setgroups), SCMP_SYS(capset), SCMP_SYS(ioperm), SCMP_SYS(iopl), SCMP_SYS(reboot),
	SCMP_SYS(swapon), SCMP_SYS(syslog), SCMP_SYS(acct),
};

/* Deadly as well, but for an instrumented build, which would start a program to name what leaked:
 * there they fail. */
static const int deadly_uninstrumented[] = {
	SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(ptrace),
};

/* What only the leak checker asks for. */
static const int for_sanitizers[] = {
	SCMP_SYS(clone), SCMP_SYS(wait4), SCMP_SYS(prctl), SCMP_SYS(kill), SCMP_SYS(tgkill),
	SCMP_SYS(getppid), SCMP_SYS(getdents), SCMP_SYS(waitpid),
};

static const unsigned traces_of_sanitizers[] = {
	PTRACE_ATTACH, PTRACE_DETACH, PTRACE_GETREGS, PTRACE_GETREGSET, PTRACE_CONT,
};

/* Rules are values here: the first failure is kept in RC, and those after it do nothing. */
struct rules {
	scmp_filter_ctx filter;
	int rc;
};

static void add_all(struct rules *r, uint32_t action, const int *calls, size_t n)
{
	for (size_t i = 0; i < n && !r->rc; i++) {
		r->rc = seccomp_rule_add(r->filter, action, calls[i], 0);
		/* A call that this machine's ABI does not have needs no rule. */
		if (r->rc == -EDOM)
			r->rc = 0;
	}
}

/* CALL is allowed when its argument AT, of the bits in MASK, is VALUE. */
static void add_masked(struct rules *r, int call, unsigned at, uint64_t mask, uint64_t value)
{
	if (!r->rc)
		r->rc = seccomp_rule_add(r->filter, SCMP_ACT_ALLOW, call, 1,
		                         SCMP_CMP64(at, SCMP_CMP_MASKED_EQ, mask, value));
	if (r->rc == -EDOM)
		r->rc = 0;
}

static void add_equal(struct rules *r, int call, unsigned at, uint64_t value)
{
	add_masked(r, call, at, UINT32_MAX, value);
}

static void add_conditional(struct rules *r)
{
	static const unsigned families[] = { AF_INET, AF_INET6, AF_UNIX };
	static const unsigned long controls[] = { FIONBIO, FIONREAD, FIOCLEX, TCGETS };

	/* Never executable. */
	add_masked(r, SCMP_SYS(mmap), 2, PROT_EXEC, 0);
	add_masked(r, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		add_equal(r, SCMP_SYS(socket), 0, families[i]);
	for (size_t i = 0; i < ARRAY_LEN(controls); i++)
		add_equal(r, SCMP_SYS(ioctl), 1, controls[i]);
	/* abort(), and no other process. */
	add_equal(r, SCMP_SYS(tgkill), 0, (uint32_t)getpid());
	/* Threads, and no processes. What clone3 is asked for cannot be seen from here; told that
	 * there is none, glibc takes clone. */
	add_masked(r, SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD);
	if (!r->rc)
		r->rc = seccomp_rule_add(r->filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	add_equal(r, SCMP_SYS(prctl), 0, PR_SET_NAME);
	/* Asking, not setting. */
	add_masked(r, SCMP_SYS(prlimit64), 2, UINT64_MAX, 0);
}

static void add_for_sanitizers(struct rules *r)
{
	add_all(r, SCMP_ACT_ALLOW, for_sanitizers, ARRAY_LEN(for_sanitizers));
	for (size_t i = 0; i < ARRAY_LEN(traces_of_sanitizers); i++)
		add_equal(r, SCMP_SYS(ptrace), 0, traces_of_sanitizers[i]);
}

/* 0, or a negated errno; -ENOSYS, -EINVAL where the kernel filters nothing. */
static int seccomp_enter(void)
{
	struct rules r = { seccomp_init(SCMP_ACT_ERRNO(EPERM)), 0 };

	if (!r.filter)
		return -ENOMEM;
	r.rc = seccomp_attr_set(r.filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	add_all(&r, SCMP_ACT_ALLOW, allowed, ARRAY_LEN(allowed));
	add_all(&r, SCMP_ACT_KILL_PROCESS, deadly, ARRAY_LEN(deadly));
	if (SANITIZED)
		add_for_sanitizers(&r);
	else
		add_all(&r, SCMP_ACT_KILL_PROCESS, deadly_uninstrumented,
		        ARRAY_LEN(deadly_uninstrumented));
	add_conditional(&r);
	if (!r.rc)
		r.rc = seccomp_load(r.filter);
	seccomp_release(r.filter);
	return r.rc;
}

static enum err landlock_with(const struct sandbox_path *paths, size_t n, int *abi, char *why,
                              size_t cap)
{
	/* What the checker reads at the end: its own maps, and the symbols of what leaked. */
	static const struct sandbox_path of_sanitizers[] = {
		{ "/proc/self", false }, { "/proc/sys", false }, { "/usr", false },
		{ "/lib", false },
	};
	struct sandbox_path all[SANDBOX_PATHS_MAX + ARRAY_LEN(of_sanitizers)];

	if (n)
		memcpy(all, paths, n * sizeof(*paths));
	memcpy(all + n, of_sanitizers, sizeof(of_sanitizers));
	return landlock_enter(all, n + (SANITIZED ? ARRAY_LEN(of_sanitizers) : 0), abi, why, cap);
}

enum err sandbox_enter(const struct sandbox_path *paths, size_t n, const struct logger *log,
                       char *why, size_t why_cap)
{
	char fields[64];
	struct text t = TEXT_IN(fields);
	int abi, rc;

	INVARIANT(n <= SANDBOX_PATHS_MAX);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) {
		snprintf(why, why_cap, "cannot confine the process: prctl: %s", strerror(errno));
		return ERR_IO;
	}
	if (landlock_with(paths, n, &abi, why, why_cap))
		return ERR_IO;
	if (!abi)
		log_emit(log, LOG_WARN, "sandbox", "no landlock here; files are not confined", "");
	rc = seccomp_enter();
	if (rc && rc != -ENOSYS && rc != -EINVAL && rc != -ECANCELED) {
		snprintf(why, why_cap, "cannot confine the process: seccomp: %s", strerror(-rc));
		return ERR_IO;
	}
	if (rc)
		log_emit(log, LOG_WARN, "sandbox",
		         "no seccomp here; system calls are not confined", "");
	text_kv_u64(&t, "landlock", (uint64_t)abi);
	text_kv_u64(&t, "seccomp", rc == 0);
	log_emit(log, LOG_INFO, "sandbox", "the process is confined", fields);
	return ERR_OK;
}
