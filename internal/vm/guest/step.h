// SPDX-License-Identifier: Apache-2.0
// What the parts of the stepper share: step.c watches the program's threads,
// sites.c puts breakpoints into them, plan.c draws what is to be done.
#ifndef STEP_H
#define STEP_H
#include <stdint.h>
#include <sys/types.h>

// The choices of one run. All of them are drawn from the job's seed before the
// program starts; zero leaves a strategy out.
struct plan {
	int sites;       // breakpoints in each file, at places that share data; more in a large one
	int near;        // how they are chosen: anywhere, in one function, on one variable
	int pass;        // a hit holds the thread once in 1<<pass
	int start;       // sixteenths of thread starts that hold a thread
	int calls;       // holds at system calls, for each thread
	int steps;       // holds after a number of single steps, for each thread
	int depth;       // at most 1<<depth steps before such a hold
	int weigh;       // sixteenths of holds that change the thread's weight instead
	int procs;       // processors that a Go program believes to have
	long slice;      // microseconds a thread runs before another one may; 0 is the kernel's choice
	long longest;    // microseconds of a hold
};
extern struct plan plan;

enum { FEW_SITES = 64, MANY_SITES = 512 };
enum near { ANYWHERE, ONE_FUNCTION, ONE_VARIABLE };

void plan_draw(struct job *job);

// A number below n, and one from 1 to most whose magnitudes are equally likely.
unsigned below(unsigned n);
long magnitude(long most);
long now_us(void);

// Tells the host of a perturbation.
void told(const char *fmt, ...);

// An address space, with the breakpoints that it got.
struct site {
	uint64_t addr;
	unsigned char orig;
	char armed;
	long wake; // when it is to be armed again; 0: it is armed, or never will be
	int hits;
};
struct space {
	struct space *next;
	int users;   // threads that live in it
	int mem;     // /proc/PID/mem
	int n;
	uint64_t lo, hi; // the main program's code
	uint64_t libraries; // bit set of the files in the list that have their breakpoints
	struct site site[MANY_SITES];
};

void sites_load(void);      // reads the list that the host made
int sites_are_go(const char *path);
struct space *space_new(pid_t pid);
struct space *space_copy(pid_t pid, const struct space *of);
void space_leave(struct space *s);
void space_map(struct space *s, pid_t pid); // chooses breakpoints in files that were mapped since
struct site *site_at(struct space *s, uint64_t addr);
void site_rest(struct space *s, struct site *at, long us);
long sites_wake(long now);  // arms what has rested; returns when to call again, 0 for never
void sites_withdraw(struct space *s);

#endif
