// SPDX-License-Identifier: Apache-2.0
#include <sys/types.h>
#include "proto.h"
int step_run(const struct job *job, pid_t *out_pid) { (void)out_pid; job_exec(job); return 127; }
