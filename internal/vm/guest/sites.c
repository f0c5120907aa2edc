// SPDX-License-Identifier: Apache-2.0
// Breakpoints at the places of the program where threads meet: the host read
// them from its machine code (internal/sites) and lists them in /j/job/sites,
//   file PATH go|c BASE     BASE: the address that the file's first page asks for
//   fn                      a function begins
//   ADDRESS GROUP           a place, and a number for the variable it uses
// numbers in hex. A breakpoint that is hit is taken out, and put back after a
// rest: so a hit costs one stop, however hot the place is.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto.h"
#include "step.h"

#define INT3 0xCC
#define MAX_FILES 64 // bits in space.libraries

static struct listed {
	char *path;
	int go, n, fns;
	uint64_t base;
	struct { uint64_t addr; uint32_t group, fn; } *at;
} files[MAX_FILES];
static int nfiles;

static struct space *spaces; // a list

void sites_load(void)
{
	FILE *f = fopen("/j/job/sites", "re");
	char line[4200];
	struct listed *l = 0;
	int room = 0;
	while (f && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "file ", 5)) {
			if (nfiles == MAX_FILES)
				break;
			char *base = strrchr(line, ' '), *kind;
			*base++ = 0;
			kind = strrchr(line, ' ');
			*kind++ = 0;
			l = &files[nfiles++];
			l->path = strdup(line + 5);
			l->go = !strcmp(kind, "go");
			l->base = strtoull(base, 0, 16);
			room = 0;
		} else if (!strcmp(line, "fn")) {
			l->fns++;
		} else {
			char *end;
			if (l->n == room)
				l->at = realloc(l->at, (room = room ? room * 2 : 256) * sizeof *l->at);
			l->at[l->n].addr = strtoull(line, &end, 16);
			l->at[l->n].group = strtoul(end, 0, 16);
			l->at[l->n++].fn = l->fns;
		}
	}
	if (f)
		fclose(f);
}

int sites_are_go(const char *path)
{
	for (int i = 0; i < nfiles; i++)
		if (!strcmp(files[i].path, path))
			return files[i].go;
	return 0;
}

static int peek(struct space *s, uint64_t a, unsigned char *b) { return pread(s->mem, b, 1, a) == 1; }
static int poke(struct space *s, uint64_t a, unsigned char b) { return pwrite(s->mem, &b, 1, a) == 1; }

struct space *space_new(pid_t pid)
{
	char path[64];
	struct space *s = calloc(1, sizeof *s);
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	s->mem = open(path, O_RDWR | O_CLOEXEC);
	s->users = 1;
	s->next = spaces;
	return spaces = s;
}

// A forked process has its parent's breakpoints in its copy of the code. They
// are taken out; it gets its own.
struct space *space_copy(pid_t pid, const struct space *of)
{
	struct space *s = space_new(pid);
	for (int i = 0; i < of->n; i++)
		poke(s, of->site[i].addr, of->site[i].orig);
	return s;
}

void space_leave(struct space *s)
{
	if (!s || --s->users)
		return;
	for (struct space **p = &spaces; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	close(s->mem);
	free(s);
}

static void arm(struct space *s, struct site *at)
{
	at->armed = 1;
	at->wake = 0;
	poke(s, at->addr, INT3);
}

// Puts breakpoints into one file that is mapped with the given bias.
static void choose(struct space *s, struct listed *l, uint64_t bias)
{
	if (!l->n || !plan.sites)
		return;
	int near = plan.near, pick = below(l->n);
	uint32_t fn = l->at[pick].fn, group = l->at[pick].group;
	int count = 0;
	for (int i = 0; near != ANYWHERE && i < l->n; i++)
		count += near == ONE_FUNCTION ? l->at[i].fn == fn : l->at[i].group == group;
	if (near == ONE_VARIABLE && count < 2)
		near = ANYWHERE; // nobody else uses it
	int most = l->n / 8 < FEW_SITES ? FEW_SITES : l->n / 8 > MANY_SITES ? MANY_SITES : l->n / 8;
	int want = plan.sites * most / FEW_SITES, left = near == ANYWHERE ? l->n : count;
	for (int i = 0; i < l->n && want > 0 && s->n < (int)(sizeof s->site / sizeof *s->site); i++) {
		if (near == ONE_FUNCTION ? l->at[i].fn != fn : near == ONE_VARIABLE && l->at[i].group != group)
			continue;
		if ((int)below(left--) >= want)
			continue;
		want--;
		struct site *at = &s->site[s->n];
		memset(at, 0, sizeof *at);
		at->addr = l->at[i].addr + bias;
		if (!peek(s, at->addr, &at->orig) || at->orig == INT3)
			continue;
		s->n++;
		arm(s, at);
	}
}

void space_map(struct space *s, pid_t pid)
{
	char path[64], line[4400];
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f)) {
		unsigned long a, e, off;
		char mode[8], *name = strchr(line, '/');
		if (!name || sscanf(line, "%lx-%lx %7s %lx", &a, &e, mode, &off) != 4)
			continue;
		line[strcspn(line, "\n")] = 0;
		for (int i = 0; i < nfiles; i++) {
			if (off || s->libraries >> i & 1 || strcmp(files[i].path, name))
				continue;
			s->libraries |= 1ull << i;
			choose(s, &files[i], a - files[i].base);
		}
	}
	if (f)
		fclose(f);
}

struct site *site_at(struct space *s, uint64_t addr)
{
	for (int i = 0; s && i < s->n; i++)
		if (s->site[i].addr == addr)
			return &s->site[i];
	return 0;
}

void site_rest(struct space *s, struct site *at, long us)
{
	if (at->armed)
		poke(s, at->addr, at->orig);
	at->armed = 0;
	at->wake = us ? now_us() + us : 0;
}

long sites_wake(long now)
{
	long next = 0;
	for (struct space *s = spaces; s; s = s->next)
		for (int k = 0; k < s->n; k++) {
			struct site *at = &s->site[k];
			if (at->wake && at->wake <= now)
				arm(s, at);
			else if (at->wake && (!next || at->wake < next))
				next = at->wake;
		}
	return next;
}

// A debugger that looks at a crash should see the program's own code.
void sites_withdraw(struct space *s)
{
	for (int i = 0; s && i < s->n; i++)
		site_rest(s, &s->site[i], 0);
}
