/* One thread in two writes into a buffer in the main program, through a
 * library; at one request it writes too much and hits the word behind. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

void copy_name(char *to, int n); /* copy.c, in a library */

static struct {
	char buf[16];
	volatile long magic;
} g;
static volatile long work;

__attribute__((noinline)) static void handle(int req) { copy_name(g.buf, req == 137 ? 20 : 12); }

static void *server(void *unused)
{
	for (int r = 0; r < 200; r++) {
		for (int k = 0; k < 2000; k++)
			work++;
		handle(r);
	}
	return unused;
}

static void *other(void *unused)
{
	for (int r = 0; r < 300; r++)
		for (int k = 0; k < 2000; k++)
			work++;
	return unused;
}

int main(void)
{
	pthread_t a, b;
	g.magic = 0x1234;
	pthread_create(&a, 0, server, 0);
	pthread_create(&b, 0, other, 0);
	pthread_join(a, 0);
	pthread_join(b, 0);
	if (g.magic != 0x1234) {
		printf("magic corrupted: %lx\n", g.magic);
		abort();
	}
	return 0;
}
