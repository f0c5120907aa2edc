// Two threads add up; each forgets the other between its two holds of the lock.
#include <pthread.h>
#include <stdio.h>

enum { ROUNDS = 10 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long total;

static long get(void)
{
	pthread_mutex_lock(&lock);
	long n = total;
	pthread_mutex_unlock(&lock);
	return n;
}

static void set(long n)
{
	pthread_mutex_lock(&lock);
	total = n;
	pthread_mutex_unlock(&lock);
}

static void *add(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		set(get() + 1);
	return arg;
}

int main(void)
{
	pthread_t t[2];
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], 0, add, 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], 0);
	printf("%ld of %d\n", get(), 2 * ROUNDS);
	return get() != 2 * ROUNDS;
}
