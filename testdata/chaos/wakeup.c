// Bug:   lost wake-up. The consumer looks at the queue without the lock, and
//        then waits; a job that is put and signalled in between wakes nobody.
// Shows: hangs.
// Rare:  the gap is a few instructions, the producer's work for a job a million.
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#ifdef PROVE
#include <unistd.h>
#define WINDOW() usleep(20000)
#else
#define WINDOW()
#endif

enum { JOBS = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static uint32_t queue[JOBS];
static atomic_int put, taken;

static uint32_t checksum(uint32_t job)
{
    for (int i = 0; i < 100000; i++)
        job = (job ^ i) * 16777619u;
    return job;
}

static void *produce(void *arg)
{
    for (uint32_t i = 0; i < JOBS; i++) {
        queue[i] = checksum(i);
        put++;
        pthread_mutex_lock(&lock);
        pthread_cond_signal(&more);
        pthread_mutex_unlock(&lock);
    }
    return arg;
}

static uint32_t take(void)
{
    if (taken == put) {
        WINDOW();
        pthread_mutex_lock(&lock);
        pthread_cond_wait(&more, &lock);
        pthread_mutex_unlock(&lock);
    }
    return queue[taken++];
}

int main(void)
{
    pthread_t producer;
    pthread_create(&producer, NULL, produce, NULL);
    uint32_t sum = 0;
    for (int i = 0; i < JOBS; i++)
        sum += take();
    pthread_join(producer, NULL);
    printf("sum %08x\n", sum);
    return 0;
}
