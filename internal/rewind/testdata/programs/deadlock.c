#include <pthread.h>
#include <unistd.h>

static pthread_mutex_t a = PTHREAD_MUTEX_INITIALIZER, b = PTHREAD_MUTEX_INITIALIZER;

static void *one(void *unused)
{
	pthread_mutex_lock(&a);
	usleep(10000);
	pthread_mutex_lock(&b);
	return unused;
}

static void *two(void *unused)
{
	pthread_mutex_lock(&b);
	usleep(10000);
	pthread_mutex_lock(&a);
	return unused;
}

int main(void)
{
	pthread_t s, t;
	pthread_create(&s, 0, one, 0);
	pthread_create(&t, 0, two, 0);
	pthread_join(s, 0);
	pthread_join(t, 0);
	return 0;
}
