// SPDX-License-Identifier: Apache-2.0
// What init tells the host, and how: frames of
//   kind (1 byte) · length (4, little endian) · time stamp counter (8) · payload
// written byte by byte to an ISA debug console. The host's reader is
// ../console.go; the two change together.
#ifndef PROTO_H
#define PROTO_H
#include <stdint.h>
#include <sys/types.h>

#define CONSOLE_PORT 0x402

enum frame {
	F_READY  = 'R', // boot is over: the snapshot is taken here
	F_SYMS   = 'K', // payload: kernel symbols, "name address\n"
	F_START  = 'S', // payload: pid of the program, in decimal
	F_STDOUT = '1',
	F_STDERR = '2',
	F_EXIT   = 'X', // payload: "code N", "signal N" or "timeout"
	F_OPENS  = 'O', // payload: the kernel's trace of failed path look-ups
	F_ERROR  = 'E', // payload: why the program could not be started
	F_MEMORY = 'M', // the guest ran out of memory and killed a process
	F_POINT  = 'P', // payload: one perturbation of the schedule that was made
};

void frame(enum frame kind, const void *data, unsigned len);
void frame_at(enum frame kind, uint64_t tsc, const void *data, unsigned len);
void framef(enum frame kind, const char *fmt, ...);

// One line of the job's parameters, "key=value"; NULL if it is not there.
const char *param(const char *key);
long param_long(const char *key, long otherwise);

// The program to run, as the image gives it.
struct job {
	const char *path, *cwd;
	char **argv, **env;
	long uid, gid;
	long timeout_ms; // 0: none
};
// Becomes the program. Returns only if that can't be done, with errno set.
void job_exec(const struct job *job);

// Seeded once from the job's parameters: every choice of a run is repeatable.
unsigned rnd(void);

// The stepper disturbs the schedule, if the parameter "chaos" asks for it:
// step_prepare draws how, and may change the job's environment; the program's
// process calls step_wait before it becomes the program; step_start starts the
// stepper's own process; step_tell passes on what that did.
void step_prepare(struct job *job);
void step_wait(void);
void step_start(pid_t pid);
void step_tell(void);

#endif
