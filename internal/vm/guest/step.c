// SPDX-License-Identifier: Apache-2.0
// The stepper: a process that traces the program and holds its threads back at
// places where it hurts, so that rare interleavings happen. The program remains
// init's child, so its end is told by the kernel as without a stepper; threads
// are held only in stops that they run into themselves, because a stop that is
// forced on a thread makes some system calls fail with EINTR.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto.h"
#include "step.h"

#define OPTIONS (PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD)

enum {
	MAX_HELD = 400000,  // microseconds of holds in a run: programs have time-outs of their own
	SHORTEST = 50,      // microseconds of a hold: a stop alone takes about as long
	FREE_STOPS = 300,   // stops that a run may cost in any case,
	STOPS_PER_MS = 5,   // and for each millisecond that it takes
	FREE_STEPS = 5000,  // the same of single steps
	STEPS_PER_MS = 10,
	MAX_UNBLOCK = 24,   // stops at system calls until signals are no longer blocked
	MAX_STRAY = 300,    // steps outside of the program's own code, in a row
	MAX_TOLD = 96,
};

struct thread {
	pid_t tid, tgid;
	struct space *space;
	char fresh;          // has not reported its first stop
	char held, weighed;
	char released;       // from a hold, and has not stopped since
	char stepped;        // has ever gone by single steps
	char stepping;       // towards a hold, by single steps
	char outside;        // runs to the breakpoint at its return address
	int unblock;         // stops left to find out whether traps are blocked still
	int left, stray;     // steps until the hold; steps in other code
	int steps;           // such holds to come
	int calls, until_call; // holds at system calls to come, and calls before the next
	int sig;             // to be delivered when it goes on
	long until;          // when the hold or the weight ends
	uint64_t from;       // where it was held last
};

static struct thread **threads;
static int nthreads, room, nheld;
static long began, held_us, stops, steps;

// What is told goes through init: two processes can't write to the console.
static struct ring {
	int n, sent;
	struct { uint64_t tsc; char text[112]; } line[MAX_TOLD];
} *ring;

void told(const char *fmt, ...)
{
	if (ring->n == MAX_TOLD)
		return;
	uint32_t lo, hi;
	asm volatile("rdtsc" : "=a"(lo), "=d"(hi));
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(ring->line[ring->n].text, sizeof ring->line->text, fmt, ap);
	va_end(ap);
	ring->line[ring->n].tsc = (uint64_t)hi << 32 | lo;
	ring->n++;
}

void step_tell(void)
{
	for (; ring && ring->sent < ring->n; ring->sent++)
		frame_at(F_POINT, ring->line[ring->sent].tsc, ring->line[ring->sent].text, strlen(ring->line[ring->sent].text));
}

static struct thread *find(pid_t tid)
{
	for (int i = 0; i < nthreads; i++)
		if (threads[i]->tid == tid)
			return threads[i];
	return 0;
}

static struct thread *get(pid_t tid)
{
	struct thread *t = find(tid);
	if (t)
		return t;
	if (nthreads == room)
		threads = realloc(threads, (room += 256) * sizeof *threads);
	t = calloc(1, sizeof *t);
	t->tid = t->tgid = tid;
	t->fresh = 1;
	return threads[nthreads++] = t;
}

static void forget(struct thread *t)
{
	for (int i = 0; i < nthreads; i++)
		if (threads[i] == t)
			threads[i] = threads[--nthreads];
	nheld -= t->held;
	space_leave(t->space);
	free(t);
}

static void go_on(struct thread *t, int sig)
{
	int how = t->stepping && !t->outside ? PTRACE_SINGLESTEP : (t->calls || t->unblock) && !t->stepping ? PTRACE_SYSCALL : PTRACE_CONT;
	ptrace(how, t->tid, 0, sig);
}

static uint64_t reg(struct thread *t, size_t offset) { return ptrace(PTRACE_PEEKUSER, t->tid, offset, 0); }
#define REG(t, name) reg(t, offsetof(struct user, regs.name))

// Sets or clears the thread's breakpoint in a debug register.
static void stop_at(struct thread *t, uint64_t addr)
{
	ptrace(PTRACE_POKEUSER, t->tid, offsetof(struct user, u_debugreg[7]), 0);
	if (addr) {
		ptrace(PTRACE_POKEUSER, t->tid, offsetof(struct user, u_debugreg[0]), addr);
		ptrace(PTRACE_POKEUSER, t->tid, offsetof(struct user, u_debugreg[7]), 1);
	}
	t->outside = addr != 0;
}

static void stop_stepping(struct thread *t)
{
	if (t->outside)
		stop_at(t, 0);
	t->stepping = 0;
}

// musl has these two for the sake of the linker only.
static int get_policy(pid_t tid) { return syscall(SYS_sched_getscheduler, tid); }
static void set_policy(pid_t tid, int policy, int priority)
{
	struct { int priority; } p = { priority };
	syscall(SYS_sched_setscheduler, tid, policy, &p);
}

static int plain_weight(pid_t tid)
{
	return get_policy(tid) == SCHED_OTHER && getpriority(PRIO_PROCESS, tid) == 0;
}

static void weight(pid_t tid, int policy, int nice)
{
	set_policy(tid, policy, 0);
	setpriority(PRIO_PROCESS, tid, nice);
}

static int over_budget(void) { return stops > FREE_STOPS + (now_us() - began) / 1000 * STOPS_PER_MS; }
static int over_steps(void) { return steps > FREE_STEPS + (now_us() - began) / 1000 * STEPS_PER_MS; }

// Holds a thread that has stopped; or, in some runs, makes it nearly give way
// to all others, or they to it. It goes on at once if nobody is left to run.
static void hold(struct thread *t, int sig, const char *why, uint64_t where)
{
	long now = now_us(), us = below(2) ? magnitude(plan.longest) : plan.longest / 2 + below(plan.longest / 2);
	if (us < SHORTEST)
		us = SHORTEST;
	if (nthreads - nheld < 2 || held_us + us > MAX_HELD) {
		go_on(t, sig);
		return;
	}
	t->from = where;
	if ((int)below(16) < plan.weigh && !t->weighed && plain_weight(t->tid)) {
		int heavy = below(2);
		weight(t->tid, heavy ? SCHED_OTHER : SCHED_IDLE, heavy ? -20 : 0);
		t->weighed = 1;
		t->until = now + us * 4;
		told("tid=%d %s %ldus %s 0x%llx", t->tid, heavy ? "hurry" : "idle", us * 4, why, (unsigned long long)where);
		go_on(t, sig);
		return;
	}
	if (t->weighed) {
		weight(t->tid, SCHED_OTHER, 0);
		t->weighed = 0;
	}
	held_us += us;
	nheld++;
	t->held = 1;
	t->until = now + us;
	t->sig = sig;
	told("tid=%d hold %ldus %s 0x%llx", t->tid, us, why, (unsigned long long)where);
}

// A trap that a thread has blocked would reset the program's handler for it.
static int traps_blocked(struct thread *t)
{
	uint64_t mask = 0;
	return ptrace(PTRACE_GETSIGMASK, t->tid, sizeof mask, &mask) || mask >> (SIGTRAP - 1) & 1;
}

// Single steps to the next hold, if there is to be one. A library that starts a
// thread blocks all signals at first: then steps begin after a later call.
static void begin_steps(struct thread *t)
{
	if (t->steps <= 0 || !t->space || !t->space->hi || over_steps())
		return;
	t->unblock = traps_blocked(t) ? MAX_UNBLOCK : 0;
	if (t->unblock)
		return;
	t->steps--;
	if (!below(4))
		return;
	t->left = magnitude(1L << plan.depth);
	t->stray = 0;
	t->stepping = t->stepped = 1;
}

static void release(struct thread *t)
{
	t->held = 0;
	t->released = 1;
	nheld--;
	begin_steps(t);
	go_on(t, t->sig);
}

// The thread or process that t has just started: it counts from now on, though
// it reports its first stop only when it first runs. By then t may be gone.
static void expect(struct thread *t)
{
	unsigned long tid;
	if (ptrace(PTRACE_GETEVENTMSG, t->tid, 0, &tid) || kill(tid, 0))
		return;
	if (t->weighed)
		weight(tid, SCHED_OTHER, 0);
	struct thread *n = get(tid);
	if (n->fresh && !n->space && t->space) {
		n->space = t->space;
		n->space->users++;
	}
}

// What a thread is to suffer, from its start.
static void engage(struct thread *t)
{
	t->steps = plan.steps;
	t->calls = plan.calls;
	t->until_call = magnitude(64);
}

static void start(struct thread *t)
{
	if ((int)below(16) < plan.start) {
		hold(t, 0, "start", 0);
		return;
	}
	begin_steps(t);
	go_on(t, 0);
}

// The first stop of a thread or a forked process.
static void adopt(struct thread *t)
{
	char path[64], line[128];
	int ppid = 0;
	snprintf(path, sizeof path, "/proc/%d/status", t->tid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "Tgid: %d", &t->tgid) != 1)
			sscanf(line, "PPid: %d", &ppid);
	if (f)
		fclose(f);
	t->fresh = 0;
	struct thread *kin = 0;
	for (int i = 0; i < nthreads; i++) {
		struct thread *o = threads[i];
		if (o == t || o->fresh || !o->space)
			continue;
		if (o->tgid == t->tgid || (!kin && (t->space ? o->space == t->space : o->tgid == ppid)))
			kin = o;
	}
	struct space *of = kin ? kin->space : t->space;
	if (!of)
		return;
	if (kin && (kin->tgid == t->tgid || !syscall(SYS_kcmp, t->tid, kin->tid, 1 /* KCMP_VM */, 0, 0)))
		of->users++;
	else
		of = space_copy(t->tid, of);
	space_leave(t->space);
	t->space = of;
	space_map(t->space, t->tid); // libraries are in place by now
	engage(t);
}

// The part of the memory that holds the main program's code.
static void find_text(struct space *s, pid_t pid)
{
	char path[64], exe[512], line[4400];
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	int n = readlink(path, exe, sizeof exe - 1);
	exe[n < 0 ? 0 : n] = 0;
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f)) {
		unsigned long a, e;
		char mode[8], *name = strchr(line, '/');
		line[strcspn(line, "\n")] = 0;
		if (name && sscanf(line, "%lx-%lx %7s", &a, &e, mode) == 3 && mode[2] == 'x' && !strcmp(name, exe)) {
			s->lo = a;
			s->hi = e;
			break;
		}
	}
	if (f)
		fclose(f);
}

static void on_exec(struct thread *t)
{
	// Whoever called it, it is the leader that remains.
	for (int i = nthreads - 1; i >= 0; i--)
		if (threads[i] != t && threads[i]->tgid == t->tid)
			forget(threads[i]);
	space_leave(t->space);
	t->tgid = t->tid;
	t->fresh = t->stepping = t->outside = 0;
	t->space = space_new(t->tid);
	find_text(t->space, t->tid);
	space_map(t->space, t->tid);
	engage(t);
	go_on(t, 0);
}

// The system calls by which threads and processes meet.
static int meets(long nr)
{
	static const short nrs[] = { SYS_read, SYS_write, SYS_open, SYS_openat, SYS_close, SYS_stat, SYS_newfstatat, SYS_access,
		SYS_faccessat, SYS_rename, SYS_renameat2, SYS_link, SYS_unlink, SYS_unlinkat, SYS_mkdir, SYS_rmdir, SYS_ftruncate,
		SYS_pread64, SYS_pwrite64, SYS_lseek, SYS_flock, SYS_fcntl, SYS_futex, SYS_nanosleep, SYS_clock_nanosleep, SYS_sched_yield,
		SYS_clone, SYS_clone3, SYS_fork, SYS_vfork, SYS_execve, SYS_wait4, SYS_kill, SYS_tgkill, SYS_exit, SYS_exit_group, SYS_poll, SYS_ppoll,
		SYS_select, SYS_pselect6, SYS_epoll_wait, SYS_epoll_pwait, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_connect,
		SYS_accept, SYS_accept4, SYS_shutdown, SYS_semop, SYS_msgsnd, SYS_msgrcv };
	for (unsigned i = 0; i < sizeof nrs / sizeof *nrs; i++)
		if (nrs[i] == nr)
			return 1;
	return 0;
}

static void on_call(struct thread *t)
{
	if (t->unblock && !traps_blocked(t))
		begin_steps(t);
	else if (t->unblock)
		t->unblock--;
	long nr = REG(t, orig_rax);
	if (over_budget())
		t->calls = 0;
	if (!t->calls || !meets(nr) || --t->until_call > 0) {
		go_on(t, 0);
		return;
	}
	char why[32];
	t->calls--;
	t->until_call = magnitude(64);
	snprintf(why, sizeof why, "call %ld", nr);
	hold(t, 0, why, REG(t, rip));
}

static void on_site(struct thread *t, struct site *at, int released)
{
	ptrace(PTRACE_POKEUSER, t->tid, offsetof(struct user, regs.rip), at->addr);
	at->hits++;
	int again = released && t->from == at->addr; // it was put back while the thread was held
	if (again || nthreads < 2 || over_budget()) {
		site_rest(t->space, at, nthreads < 2 ? 20L << (at->hits < 8 ? at->hits : 8) : 10000);
		go_on(t, 0);
	} else if (below(1 << plan.pass)) {
		site_rest(t->space, at, magnitude(5000));
		if (!below(8))
			engage(t); // once more, later in its life
		go_on(t, 0);
	} else {
		site_rest(t->space, at, magnitude(20000));
		hold(t, 0, "at", at->addr);
	}
}

static void on_step(struct thread *t)
{
	if (t->outside)
		stop_at(t, 0);
	if (!t->stepping) { // what was left of it
		go_on(t, 0);
		return;
	}
	uint64_t ip = REG(t, rip);
	if (ip >= t->space->lo && ip < t->space->hi) {
		if (--t->left > 0) {
			go_on(t, 0);
			return;
		}
		t->stepping = 0;
		hold(t, 0, "at", ip);
		return;
	}
	// In a function of some library: on to where it returns.
	uint64_t sp = REG(t, rsp);
	for (int i = 0; i < 4; i++) {
		uint64_t v = ptrace(PTRACE_PEEKDATA, t->tid, sp + 8 * i, 0);
		if (v >= t->space->lo && v < t->space->hi) {
			stop_at(t, v);
			go_on(t, 0);
			return;
		}
	}
	if (++t->stray > MAX_STRAY)
		stop_stepping(t);
	go_on(t, 0);
}

static void on_trap(struct thread *t)
{
	siginfo_t si;
	int released = t->released;
	t->released = 0;
	if (ptrace(PTRACE_GETSIGINFO, t->tid, 0, &si)) {
		go_on(t, 0); // it was killed meanwhile
		return;
	}
	struct site *at = si.si_code == SI_KERNEL ? site_at(t->space, REG(t, rip) - 1) : 0;
	if (at)
		on_site(t, at, released);
	else if (t->stepped && (si.si_code == TRAP_TRACE || si.si_code == TRAP_BRKPT || si.si_code == TRAP_HWBKPT))
		on_step(t); // TRAP_BRKPT is a step over a system call
	else
		go_on(t, SIGTRAP); // the program's own
}

static int is_crash(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGABRT || sig == SIGSYS;
}

// A signal that the program ignores never reaches it; but on its way past a
// tracer it wakes a thread, and some system calls then fail with EINTR.
static int ignored(struct thread *t, int sig)
{
	unsigned long ign = 0, cgt = 0, bit = 1ul << (sig - 1);
	char path[64], line[128];
	snprintf(path, sizeof path, "/proc/%d/status", t->tid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "SigIgn: %lx", &ign) != 1)
			sscanf(line, "SigCgt: %lx", &cgt);
	if (f)
		fclose(f);
	int harmless = sig == SIGCHLD || sig == SIGURG || sig == SIGWINCH || sig == SIGCONT;
	return ign & bit || (harmless && !(cgt & bit));
}

#define ERESTARTNOHAND 514 // the kernel's own: start the call again unless a handler runs

static void on_signal(struct thread *t, int sig)
{
	if (is_crash(sig))
		sites_withdraw(t->space);
	if ((long)REG(t, orig_rax) >= 0 && (long)REG(t, rax) == -EINTR && ignored(t, sig))
		ptrace(PTRACE_POKEUSER, t->tid, offsetof(struct user, regs.rax), (long)-ERESTARTNOHAND);
	go_on(t, sig);
}

static void on_stop(struct thread *t, int status)
{
	int sig = WSTOPSIG(status);
	if (t->stepping)
		steps++;
	else
		stops++;
	switch (status >> 16) {
	case PTRACE_EVENT_EXEC:
		on_exec(t);
		return;
	case PTRACE_EVENT_CLONE:
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
		expect(t);
		stop_stepping(t);
		t->steps = plan.steps;
		start(t);
		return;
	case PTRACE_EVENT_STOP:
		if (sig != SIGTRAP) { // stopped with its group, until SIGCONT
			ptrace(PTRACE_LISTEN, t->tid, 0, 0);
		} else if (t->fresh) {
			adopt(t);
			start(t);
		} else {
			go_on(t, 0);
		}
		return;
	}
	if (sig == (SIGTRAP | 0x80)) {
		on_call(t);
	} else if (sig == SIGTRAP) {
		on_trap(t);
	} else {
		on_signal(t, sig);
	}
}

// Ends what is over; returns when the next thing will be, 0 for never.
static long timers(void)
{
	long now = now_us(), next = sites_wake(now);
	for (int i = 0; i < nthreads; i++) {
		struct thread *t = threads[i];
		if (!t->held && !t->weighed)
			continue;
		if (t->until > now) {
			if (!next || t->until < next)
				next = t->until;
		} else if (t->held) {
			release(t);
		} else {
			t->weighed = 0;
			weight(t->tid, SCHED_OTHER, 0);
		}
	}
	return next;
}

static void watch(void)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	began = now_us();
	for (;;) {
		int status, tid;
		while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
			struct thread *t = WIFSTOPPED(status) ? get(tid) : find(tid);
			if (WIFSTOPPED(status))
				on_stop(t, status);
			else if (t)
				forget(t);
		}
		if (tid < 0 && errno == ECHILD)
			return;
		long next = timers(), now = now_us();
		if (!next) {
			sigwaitinfo(&child, 0);
		} else if (next > now) {
			struct timespec d = { (next - now) / 1000000, (next - now) % 1000000 * 1000 };
			sigtimedwait(&child, 0, &d);
		}
	}
}

static int gate[2];

void step_prepare(struct job *job)
{
	ring = mmap(0, sizeof *ring, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sites_load();
	plan_draw(job);
	if (pipe2(gate, O_CLOEXEC)) {}
}

void step_wait(void)
{
	char c;
	close(gate[1]);
	if (read(gate[0], &c, 1) < 0) {}
}

void step_start(pid_t pid)
{
	int tracer = plan.sites || plan.calls || plan.steps || plan.start;
	if (!tracer || fork()) {
		close(gate[0]);
		close(gate[1]);
		return;
	}
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, 0);
	signal(SIGCHLD, SIG_DFL);
	set_policy(0, SCHED_FIFO, 99);
	int in = dup2(gate[1], 1023);
	syscall(SYS_close_range, 0, 1022, 0); // the program's output must end with it
	if (ptrace(PTRACE_SEIZE, pid, 0, OPTIONS))
		told("no stepper: %s", strerror(errno));
	close(in); // lets it go
	get(pid)->fresh = 0;
	watch();
	_exit(0);
}
