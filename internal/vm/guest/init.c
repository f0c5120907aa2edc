// SPDX-License-Identifier: Apache-2.0
// The first process of the guest. It boots once, says F_READY, and waits for a
// job; the host takes its snapshot there. A recording starts from the snapshot
// with a job given through fw_cfg and a disk that holds the program's files:
// init mounts it, runs the program, passes on what it writes, and tells how it
// ended. It is linked high (see the Makefile) so that its addresses are never
// those of the program.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto.h"

// From linux/random.h, which musl's headers do not bring.
#define RNDADDENTROPY _IOW('R', 0x03, int[2])
#define RNDRESEEDCRNG _IO('R', 0x07)

static void out(const void *p, unsigned n)
{
	asm volatile("rep outsb" : "+S"(p), "+c"(n) : "d"(CONSOLE_PORT) : "memory");
}

void frame_at(enum frame kind, uint64_t tsc, const void *data, unsigned len)
{
	unsigned char h[13] = { kind };
	memcpy(h + 1, &len, 4);
	memcpy(h + 5, &tsc, 8);
	out(h, sizeof h);
	out(data, len);
}

void frame(enum frame kind, const void *data, unsigned len)
{
	uint32_t lo, hi;
	asm volatile("rdtsc" : "=a"(lo), "=d"(hi));
	frame_at(kind, (uint64_t)hi << 32 | lo, data, len);
}

void framef(enum frame kind, const char *fmt, ...)
{
	char b[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(b, sizeof b, fmt, ap);
	va_end(ap);
	frame(kind, b, n < (int)sizeof b ? n : (int)sizeof b - 1);
}

// What a recording opens before the snapshot, it need not open in its own
// time: on code that runs once, QEMU spends a thousand times the code's own.
static int inflight, vmstat, tracing_on;

// Whether the disk has requests under way.
static int disk_busy(void)
{
	char b[64];
	int n = pread(inflight, b, sizeof b - 1, 0);
	if (n < 0)
		return 0;
	b[n] = 0;
	return strpbrk(b, "123456789") != 0;
}

// The register through which the kernel, too, would switch the machine off,
// after some thousand steps that nobody is waiting for.
enum { SLEEP_PAGE = 0xfea00000, SLEEP_CONTROL = 0x200, SLEEP_NOW = 1 << 5 | 5 << 2 };
static volatile unsigned char *sleep_control;

static void map_sleep_control(void)
{
	int f = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
	void *p = f < 0 ? MAP_FAILED : mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, f, SLEEP_PAGE);
	close(f);
	if (p != MAP_FAILED)
		sleep_control = (unsigned char *)p + SLEEP_CONTROL;
}

// QEMU waits for ever for requests that are under way when the disk is reset
// at the end. A program that outlives its limit may just be reading: it is
// stopped, not ended, since a debugger wants to see it.
static void power_off(void)
{
	if (waitpid(-1, 0, WNOHANG) == 0)
		kill(-1, SIGSTOP);
	while (disk_busy())
		usleep(1000);
	// QEMU notes a shutdown in its log, but not at which instruction: a replay
	// takes it for as early as the event before. Reading a clock is an event.
	outb(0, 0x70);
	inb(0x71);
	if (sleep_control)
		*sleep_control = SLEEP_NOW;
	else
		reboot(RB_POWER_OFF);
	for (;;) // not pause(2), or the kernel's way to rest would be run for nothing
		asm volatile("");
}

static void die(const char *what)
{
	framef(F_ERROR, "%s: %s", what, strerror(errno));
	power_off();
}

static void put(const char *path, const char *s)
{
	int f = open(path, O_WRONLY);
	if (f >= 0) {
		if (write(f, s, strlen(s)) < 0) {} // a knob that this kernel lacks is no fault
		close(f);
	}
}

static void load_modules(void)
{
	char list[4096], *save = 0;
	int f = open("/mod/order", O_RDONLY);
	int n = f < 0 ? -1 : (int)read(f, list, sizeof list - 1);
	if (n < 0)
		return;
	close(f);
	list[n] = 0;
	for (char *m = strtok_r(list, "\n", &save); m; m = strtok_r(0, "\n", &save)) {
		char path[300];
		snprintf(path, sizeof path, "/mod/%s", m);
		int k = open(path, O_RDONLY | O_CLOEXEC);
		if (k < 0 || (syscall(SYS_finit_module, k, "", 0) && errno != EEXIST))
			framef(F_ERROR, "module %s: %s", m, strerror(errno));
		close(k);
	}
}

// Failed look-ups are traced all the time: it costs a few hundred instructions
// for each path, and lets the host name the files that the image lacks.
static void trace_lookups(void)
{
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, 0);
#define T "/sys/kernel/tracing/"
	put(T "buffer_size_kb", "64");
	static const char *probes[] = {
		"p:td/open do_filp_open name=+0(+0($arg2)):string\n",
		"r:td/opened do_filp_open ret=$retval:s64\n",
		"p:td/look filename_lookup name=+0(+0($arg2)):string\n",
		"r:td/looked filename_lookup ret=$retval:s32\n",
	};
	for (unsigned i = 0; i < sizeof probes / sizeof *probes; i++) {
		int f = open(T "kprobe_events", O_WRONLY | O_APPEND);
		if (f < 0 || write(f, probes[i], strlen(probes[i])) < 0) {} // then fewer are told
		close(f);
	}
	put(T "events/td/opened/filter", "ret == -2");
	put(T "events/td/looked/filter", "ret == -2");
	put(T "events/td/enable", "1");
	put(T "tracing_on", "0");
	put(T "trace", "");
	tracing_on = open(T "tracing_on", O_WRONLY | O_CLOEXEC);
}

static void trace(const char *on)
{
	if (pwrite(tracing_on, on, 1, 0) < 0) {}
}

static void send_lookups(void)
{
	trace("0");
	int f = open(T "trace", O_RDONLY);
	if (f < 0)
		return;
	static char b[64 << 10];
	int n = 0, k;
	while (n < (int)sizeof b && (k = read(f, b + n, sizeof b - n)) > 0)
		n += k;
	close(f);
	frame(F_OPENS, b, n);
}

// The kernel that distributions ship has no symbol table; the debugger finds
// the running thread and the end of a process through these.
static void send_symbols(void)
{
	static const char *names[] = { "__per_cpu_offset", "current_task", "do_coredump", "do_exit", "do_group_exit",
		"init_task", "start_thread" };
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[512], name[256], text[2048];
	unsigned long a;
	int n = 0;
	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%lx %*c %255s", &a, name) != 2)
			continue;
		for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
			if (!strcmp(name, names[i]) && n < (int)sizeof text - 300)
				n += sprintf(text + n, "%s %lx\n", name, a);
	}
	if (f)
		fclose(f);
	frame(F_SYMS, text, n);
}

// fw_cfg: QEMU's way to hand a file to the guest without a driver.
static int fw_cfg(const char *name, char *buf, int max)
{
	outw(0x19, 0x510);
	uint32_t count = 0;
	for (int i = 0; i < 4; i++)
		count = count << 8 | inb(0x511);
	for (uint32_t k = 0; k < count && k < 256; k++) {
		unsigned char e[64];
		for (int i = 0; i < 64; i++)
			e[i] = inb(0x511);
		if (strcmp((char *)e + 8, name))
			continue;
		uint32_t size = (uint32_t)e[0] << 24 | e[1] << 16 | e[2] << 8 | e[3];
		outw(e[4] << 8 | e[5], 0x510);
		int n = 0;
		for (uint32_t i = 0; i < size && n < max - 1; i++)
			buf[n++] = inb(0x511);
		buf[n] = 0;
		return n;
	}
	return -1;
}

static char params[8192];

const char *param(const char *key)
{
	static char value[512];
	size_t l = strlen(key);
	for (char *p = params; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : 0)
		if (!strncmp(p, key, l) && p[l] == '=') {
			size_t n = strcspn(p + l + 1, "\n");
			if (n >= sizeof value)
				n = sizeof value - 1;
			memcpy(value, p + l + 1, n);
			value[n] = 0;
			return value;
		}
	return 0;
}

long param_long(const char *key, long otherwise)
{
	const char *v = param(key);
	return v ? strtol(v, 0, 0) : otherwise;
}

static uint64_t rnd_state;

unsigned rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state >> 16;
}

static char *slurp(const char *path, long *len)
{
	struct stat st;
	int f = open(path, O_RDONLY | O_CLOEXEC);
	if (f < 0 || fstat(f, &st))
		die(path);
	char *b = malloc(st.st_size + 1);
	long n = 0, k;
	while (n < st.st_size && (k = read(f, b + n, st.st_size - n)) > 0)
		n += k;
	close(f);
	b[n] = 0;
	if (len)
		*len = n;
	return b;
}

// A file of NUL-ended strings.
static char **strings(const char *path)
{
	long n;
	char *b = slurp(path, &n);
	int count = 0;
	for (long i = 0; i < n; i++)
		count += !b[i];
	char **v = calloc(count + 1, sizeof *v);
	for (int i = 0; i < count; i++, b += strlen(b) + 1)
		v[i] = b;
	return v;
}

static void mount_world(void)
{
	if (mount("/dev/vda", "/j", "ext4", MS_RDONLY | MS_NOATIME, "noload"))
		die("mount of the program's files");
	if (mount("o", "/r", "overlay", MS_NOATIME, "lowerdir=/j/root,upperdir=/u/up,workdir=/u/wk"))
		die("mount of the overlay");
	mount("/proc", "/r/proc", 0, MS_BIND, 0);
	mount("/sys", "/r/sys", 0, MS_BIND, 0);
	mount("/dev", "/r/dev", 0, MS_BIND | MS_REC, 0);
}

static void loopback_up(void)
{
	struct ifreq r = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strcpy(r.ifr_name, "lo");
	ioctl(s, SIOCGIFFLAGS, &r);
	r.ifr_flags |= IFF_UP;
	ioctl(s, SIOCSIFFLAGS, &r);
	close(s);
}

// Two recordings from one snapshot would draw the same random numbers and be
// scheduled alike. The seed is a parameter of the job, so replay has it too.
static void differ(void)
{
	struct { int bits, size; char b[64]; } p = { 512, 64, "" };
	const char *seed = param("seed");
	if (seed)
		strncpy(p.b, seed, sizeof p.b - 1);
	int f = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	ioctl(f, RNDADDENTROPY, &p);
	ioctl(f, RNDRESEEDCRNG, 0);
	close(f);
	rnd_state = strtoull(seed ? seed : "1", 0, 0) ^ 0x9E3779B97F4A7C15ull;
	for (int i = 0; i < 8; i++)
		rnd();
	const char *now = param("now");
	if (now) {
		struct timespec t = { strtoll(now, 0, 10), rnd() % 1000000000 };
		clock_settime(CLOCK_REALTIME, &t);
	}
	// Another phase against the timer tick, which comes every 4 ms: a round takes
	// 32 ns. To sleep would be to run the kernel's way to rest and back.
	for (volatile unsigned i = rnd() % 131072; i; i--)
		;
}

void job_exec(const struct job *job)
{
	iopl(0);
	struct sched_param zero = { 0 };
	sched_setscheduler(0, SCHED_OTHER, &zero);
	setsid();
	// The program's root is moved to the root of all mounts: to who is in a mere
	// chroot, the kernel gives no user namespaces.
	if (chdir("/r") || mount(".", "/", 0, MS_MOVE, 0) || chroot("."))
		return;
	personality(ADDR_NO_RANDOMIZE);
	gid_t gid = job->gid;
	if (setgroups(1, &gid) || setgid(job->gid) || setuid(job->uid))
		return;
	if (chdir(job->cwd))
		return;
	execve(job->path, job->argv, job->env);
}

static long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

enum { PIPE_SIZE = 1 << 20 };

static void reader(int to[2])
{
	if (pipe2(to, O_CLOEXEC))
		die("pipe");
	fcntl(to[0], F_SETPIPE_SZ, PIPE_SIZE);
	fcntl(to[0], F_SETFL, O_NONBLOCK);
}

// Passes on up to that many pieces; 0 if nothing can follow them.
static int drain(int fd, enum frame kind, int pieces)
{
	static char b[64 << 10];
	int n;
	while (pieces--) {
		if ((n = read(fd, b, sizeof b)) <= 0)
			return n < 0 && errno == EAGAIN;
		frame(kind, b, n);
	}
	return 1;
}

// Whether the kernel had to kill something for want of memory.
static int out_of_memory(void)
{
	static char b[16 << 10];
	int n = 0, k;
	while (n < (int)sizeof b - 1 && (k = pread(vmstat, b + n, sizeof b - 1 - n, n)) > 0)
		n += k;
	b[n] = 0;
	const char *kills = strstr(b, "\noom_kill ");
	return kills && kills[10] != '0';
}

static int wake[2], o[2], e[2];
static int failed[2]; // takes the errno of a program that can't be started

static void on_child(int sig)
{
	(void)sig;
	int e = errno;
	if (write(wake[1], "", 1) < 0) {}
	errno = e;
}

// All that a run needs and that does not depend on its job.
static void prepare_run(void)
{
	reader(o);
	reader(e);
	if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) || pipe2(failed, O_CLOEXEC | O_NONBLOCK))
		die("pipe");
	signal(SIGCHLD, on_child);
	inflight = open("/sys/block/vda/inflight", O_RDONLY | O_CLOEXEC);
	vmstat = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	map_sleep_control();
}

static void run(const struct job *job)
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		int in = open("/j/job/stdin", O_RDONLY);
		if (in < 0)
			in = open("/dev/null", O_RDONLY);
		dup2(in, 0);
		dup2(o[1], 1);
		dup2(e[1], 2);
		if (in > 2)
			close(in);
		signal(SIGCHLD, SIG_DFL);
		if (param("chaos"))
			step_wait();
		job_exec(job);
		if (write(failed[1], &errno, sizeof errno) < 0) {} // frames are for those with the right to the port
		_exit(127);
	}
	close(o[1]);
	close(e[1]);
	framef(F_START, "%d", pid);
	if (param("chaos"))
		step_start(pid);

	// A reader on another processor would not push the program off its own.
	struct sched_param zero = { 0 };
	sched_setscheduler(0, SCHED_IDLE, &zero);

	long end = job->timeout_ms ? now_ms() + job->timeout_ms : 0;
	int st = 0, late = 0;
	for (;;) {
		struct pollfd p[3] = { { wake[0], POLLIN, 0 }, { o[0], POLLIN, 0 }, { e[0], POLLIN, 0 } };
		int wait = -1;
		if (end) {
			wait = end - now_ms();
			if (wait <= 0) {
				late = 1;
				break;
			}
		}
		poll(p, 3, wait);
		step_tell();
		if (p[1].revents && !drain(o[0], F_STDOUT, 1)) {
			close(o[0]);
			o[0] = -1;
		}
		if (p[2].revents && !drain(e[0], F_STDERR, 1)) {
			close(e[0]);
			e[0] = -1;
		}
		if (p[0].revents) {
			char b[64];
			while (read(wake[0], b, sizeof b) > 0)
				;
			int w, s, gone = 0;
			while ((w = waitpid(-1, &s, WNOHANG)) > 0)
				if (w == pid) {
					st = s;
					gone = 1;
				}
			if (gone)
				break;
		}
	}
	step_tell();
	// What it wrote is in the pipes, and what those that it left behind write.
	drain(o[0], F_STDOUT, PIPE_SIZE / (64 << 10) + 1);
	drain(e[0], F_STDERR, PIPE_SIZE / (64 << 10) + 1);
	int why;
	if (read(failed[0], &why, sizeof why) == sizeof why)
		framef(F_ERROR, "%s: %s", job->path, strerror(why));
	send_lookups();
	if (out_of_memory())
		frame(F_MEMORY, "", 0);
	if (late)
		framef(F_EXIT, "timeout");
	else if (WIFSIGNALED(st))
		framef(F_EXIT, "signal %d", WTERMSIG(st));
	else
		framef(F_EXIT, "code %d", WEXITSTATUS(st));
}

static void boot(void)
{
	static const char *dirs[] = { "/proc", "/sys", "/dev", "/tmp", "/j", "/u", "/r" };
	for (unsigned i = 0; i < sizeof dirs / sizeof *dirs; i++)
		mkdir(dirs[i], 0755);
	mount("proc", "/proc", "proc", 0, 0);
	mount("sysfs", "/sys", "sysfs", 0, 0);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, 0);
	mount("devtmpfs", "/dev", "devtmpfs", 0, "mode=0755");
	mkdir("/dev/pts", 0755);
	mkdir("/dev/shm", 01777);
	mount("devpts", "/dev/pts", "devpts", 0, "mode=0620,ptmxmode=0666");
	mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777");
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
	iopl(3);
	load_modules();
	mount("tmpfs", "/u", "tmpfs", 0, "size=90%");
	static const char *writable[] = { "/u/up", "/u/wk", "/u/up/proc", "/u/up/sys", "/u/up/dev", "/u/up/tmp", "/u/up/run" };
	for (unsigned i = 0; i < sizeof writable / sizeof *writable; i++)
		mkdir(writable[i], 0755);
	chmod("/u/up/tmp", 01777);
	loopback_up();
	trace_lookups();
	put("/proc/sys/kernel/core_pattern", "");
	put("/proc/sys/vm/overcommit_memory", "1");
}

// What boot left in pages that are free again would go into the snapshot;
// pages of zeros do not.
static void clear_free_memory(void)
{
	struct sysinfo si;
	if (sysinfo(&si))
		return;
	size_t n = (si.freeram * si.mem_unit / 8 * 7) & ~4095ul; // not so much that it is killed
	void *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p != MAP_FAILED)
		munmap(p, n);
}

int main(void)
{
	if (getpid() != 1) { // it is the smallest program to try a recording with
		puts("recorded");
		return 0;
	}
	boot();
	prepare_run();
	send_symbols();
	// What comes from a file of the host needs no scheduling.
	put("/sys/block/vda/queue/scheduler", "none");
	put("/sys/block/vda/queue/wbt_lat_usec", "0");
	// The disk is an empty one until the snapshot is loaded; what was read of it must be read again.
	int disk = open("/dev/vda", O_RDONLY | O_CLOEXEC);
	ioctl(disk, BLKFLSBUF, 0);
	close(disk);
	put("/proc/sys/vm/drop_caches", "3");
	clear_free_memory();
	frame(F_READY, "", 0);
	// Not asleep: a replay that starts from a processor at rest, with a debugger
	// attached, can wait for ever for the event that would wake it.
	while (fw_cfg("opt/tapedeck", params, sizeof params) < 0)
		for (volatile int i = 0; i < 20000; i++)
			;

	const char *host = param("host");
	if (host)
		sethostname(host, strlen(host));
	mount_world();
	struct job job = {
		.path = slurp("/j/job/path", 0),
		.argv = strings("/j/job/argv"),
		.env = strings("/j/job/env"),
		.cwd = slurp("/j/job/cwd", 0),
		.uid = param_long("uid", 0),
		.gid = param_long("gid", 0),
		.timeout_ms = param_long("timeout_ms", 0),
	};
	differ();
	if (param("chaos"))
		step_prepare(&job);
	trace("1");
	run(&job);
	power_off();
}
