// SPDX-License-Identifier: Apache-2.0
// What is done to the schedule of this run. Each bug yields to another kind of
// disturbance, and too many at once hide it: so a run gets a few strategies,
// each drawn with its own measure, and the next seed gets others.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto.h"
#include "step.h"

struct plan plan;

unsigned below(unsigned n) { return n ? rnd() % n : 0; }

long magnitude(long most)
{
	int bits = 0;
	while (1L << bits < most)
		bits++;
	long top = 1L << below(bits + 1);
	long n = top / 2 + below(top / 2 + 1);
	return n < 1 ? 1 : n > most ? most : n;
}

long now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static int knob(const char *name, const char *value)
{
	char path[128];
	snprintf(path, sizeof path, "/sys/kernel/debug/sched/%s", name);
	int f = open(path, O_WRONLY | O_CLOEXEC);
	if (f < 0)
		return -1; // not in this kernel
	int n = write(f, value, strlen(value));
	close(f);
	return n < 0 ? -1 : 0;
}

static void knob_long(const char *name, long v)
{
	char text[32];
	snprintf(text, sizeof text, "%ld", v);
	knob(name, text);
}

// The kernel's scheduler takes the tick of 4 ms for the shortest time slice
// unless HRTICK is on; with it, 100 µs is what its knobs allow.
static void schedule(void)
{
	static const char *flags[] = { "START_DEBIT", "WAKEUP_PREEMPTION", "GENTLE_FAIR_SLEEPERS", "NEXT_BUDDY" };
	if (plan.slice) {
		knob("features", "HRTICK");
		knob("tunable_scaling", "0");
		knob_long("min_granularity_ns", plan.slice * 1000);
		knob_long("latency_ns", plan.slice * 1000);
		knob_long("wakeup_granularity_ns", below(2) ? 0 : plan.slice * 1000);
		knob_long("base_slice_ns", plan.slice * 1000); // since Linux 6.6
	}
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		char off[40];
		snprintf(off, sizeof off, "NO_%s", flags[i]);
		if (!below(4))
			knob("features", below(2) ? flags[i] : off);
	}
}

// A Go program on one processor runs one goroutine at a time: to hold a thread
// is to hold them all. It gets the processors that it would have elsewhere.
static void set_procs(struct job *job)
{
	static char text[32];
	int n = 0;
	for (; job->env[n]; n++)
		if (!strncmp(job->env[n], "GOMAXPROCS=", 11))
			return;
	char **env = calloc(n + 2, sizeof *env);
	memcpy(env, job->env, n * sizeof *env);
	snprintf(text, sizeof text, "GOMAXPROCS=%d", plan.procs);
	env[n] = text;
	job->env = env;
}

static int wants(const char *only, const char *name) { return !strcmp(only, "mix") || strstr(only, name); }

void plan_draw(struct job *job)
{
	const char *only = param("chaos");
	int mix = !strcmp(only, "mix"), go = sites_are_go(job->path);
	// One strategy leads, each other one joins in a quarter of the runs.
	int lead = below(8);
	plan.longest = 1000L << below(7);
	plan.pass = below(2) ? 0 : below(4);
	if (wants(only, "sites") && (!mix || lead < 5 || !below(4))) {
		plan.sites = below(2) ? magnitude(FEW_SITES) : 1 + below(FEW_SITES);
		plan.near = below(3);
	}
	if (wants(only, "calls") && (!mix || lead == 5 || !below(4)))
		plan.calls = 1 + below(4);
	if (wants(only, "steps") && (!mix || lead == 6 || !below(4))) {
		plan.steps = 1 + below(3);
		plan.depth = 3 + below(9);
	}
	if (wants(only, "start") && (!mix || lead == 7 || !below(4)))
		plan.start = 1 + below(8);
	if (wants(only, "slice") && (!mix || !below(2)))
		plan.slice = 100L << below(6);
	if (wants(only, "weigh") && (!mix || !below(4)))
		plan.weigh = 1 + below(12);
	if (go && (wants(only, "procs")))
		plan.procs = 2 << below(3);
	if (plan.slice)
		schedule();
	if (plan.procs)
		set_procs(job);
	told("plan sites=%d/%d/%d calls=%d steps=%d/%d start=%d weigh=%d slice=%ldus hold<=%ldus procs=%d", plan.sites, plan.near,
	     plan.pass, plan.calls, plan.steps, plan.depth, plan.start, plan.weigh, plan.slice, plan.longest, plan.procs);
}
