/* Two processes with the same addresses; the child crashes, the parent fails. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int counter;

__attribute__((noinline)) static void in_parent(void) { counter += 100; }
__attribute__((noinline)) static void in_child(void) { counter += 3; }

int main(void)
{
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < 4; i++) {
			in_child();
			usleep(500);
		}
		abort();
	}
	for (int i = 0; i < 6; i++) {
		in_parent();
		usleep(700);
	}
	int status;
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? 7 : 0;
}
