// A program without a bug that does most of what the stepper has to follow:
// threads that wait for each other, signals, traps of its own, processes that
// are forked, stopped, killed and replaced, and a first thread that ends first.
// It prints "right" and exits with 7; it exits with 1 where something is wrong.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(ok) do { if (!(ok)) { fprintf(stderr, "line %d: %s: %s\n", __LINE__, #ok, strerror(errno)); _exit(1); } } while (0)

enum { ITEMS = 40 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int queue[4], filled, sum;
static atomic_int traps, signals, counted;

static void *produce(void *arg)
{
	for (int i = 1; i <= ITEMS; i++) {
		pthread_mutex_lock(&lock);
		while (filled == 4)
			pthread_cond_wait(&changed, &lock);
		queue[filled++] = i;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
		counted++;
	}
	return arg;
}

static void *consume(void *arg)
{
	for (int i = 1; i <= ITEMS; i++) {
		pthread_mutex_lock(&lock);
		while (!filled)
			pthread_cond_wait(&changed, &lock);
		sum += queue[--filled];
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void on_signal(int sig)
{
	if (sig == SIGTRAP)
		traps++;
	else
		signals++;
}

static int ended(pid_t pid)
{
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

static pid_t child(int how)
{
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid)
		return pid;
	pthread_t t;
	switch (how) {
	case SIGSTOP:
		raise(SIGSTOP);
		_exit(5);
	case SIGKILL:
		for (;;)
			pause();
	case SIGTRAP:
		signal(SIGTRAP, SIG_DFL);
		raise(SIGTRAP);
		_exit(0);
	case SIGABRT:
		abort();
	}
	filled = 0;
	pthread_create(&t, 0, produce, 0);
	consume(0);
	pthread_join(t, 0);
	execl("/bin/sh", "sh", "-c", "exit 3", (char *)0);
	_exit(1);
}

// No signal that is ignored may end this wait.
static void wait_for_byte(int from)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int e = epoll_create1(0);
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, from, &ev));
	CHECK(epoll_wait(e, &ev, 1, 10000) == 1);
	close(e);
}

static void *last(void *arg)
{
	usleep(2000);
	puts("right");
	exit(7);
	return arg;
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_NODEFER | SA_RESTART };
	CHECK(!sigaction(SIGTRAP, &act, 0) && !sigaction(SIGUSR1, &act, 0));
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&t[i], 0, i & 1 ? produce : consume, 0));
	kill(getpid(), SIGUSR1);
	raise(SIGTRAP);
	__asm__ volatile("int3");
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], 0);
	CHECK(traps == 2 && signals == 1);
	CHECK(sum == ITEMS * (ITEMS + 1) && counted == 2 * ITEMS);
	sum = filled = 0;

	int status;
	pid_t pid = child(SIGSTOP);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	kill(pid, SIGCONT);
	CHECK(WEXITSTATUS(ended(pid)) == 5);
	pid = child(SIGKILL);
	kill(pid, SIGKILL);
	CHECK(WTERMSIG(ended(pid)) == SIGKILL);
	CHECK(WTERMSIG(ended(child(SIGTRAP))) == SIGTRAP);
	CHECK(WTERMSIG(ended(child(SIGABRT))) == SIGABRT);
	CHECK(WEXITSTATUS(ended(child(0))) == 3);
	CHECK(WEXITSTATUS(system("exit 2")) == 2);

	int bytes[2];
	CHECK(!pipe(bytes));
	pid = fork();
	if (!pid) {
		if (!fork())
			_exit(0);
		usleep(1000);
		_exit(write(bytes[1], "x", 1) != 1);
	}
	pid_t other = fork();
	if (!other)
		_exit(0);
	wait_for_byte(bytes[0]);
	CHECK(WEXITSTATUS(ended(pid)) == 0 && WEXITSTATUS(ended(other)) == 0);

	pthread_create(&t[0], 0, last, 0);
	syscall(SYS_exit, 0); // of this thread alone
}
