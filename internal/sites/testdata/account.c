// A program with known places: see sites_test.go.
#include <pthread.h>
#include <stdlib.h>

struct account {
	long id, balance;
};
static long total; // two instructions use it, in two functions
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct account *accounts;

__attribute__((noinline)) long on_the_stack(long n)
{
	volatile long a[4] = { n, n, n, n };
	return a[n & 3];
}

__attribute__((noinline)) void pay(struct account *a, long n)
{
	pthread_mutex_lock(&lock);
	a->balance += n;
	pthread_mutex_unlock(&lock);
}

__attribute__((noinline)) void add(long n) { total += n; }

__attribute__((noinline)) long count(void) { return __atomic_exchange_n(&total, 0, __ATOMIC_SEQ_CST); }

int main(void)
{
	accounts = calloc(2, sizeof *accounts);
	pay(&accounts[1], on_the_stack(3));
	add(2);
	return count() != 2;
}
