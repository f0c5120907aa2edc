// Two threads lose updates to a counter; the output also holds a random number
// and the time, so that no two runs print the same. Exits 42 if updates were lost.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static volatile long counter;
static long rounds = 2000000;

static void *count(void *arg)
{
    (void)arg;
    for (long i = 0; i < rounds; i++) {
        long seen = counter;
        counter = seen + 1;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atol(argv[1]);
    pthread_t a, b;
    pthread_create(&a, NULL, count, NULL);
    pthread_create(&b, NULL, count, NULL);
    pthread_join(a, NULL);
    pthread_join(b, NULL);

    unsigned random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return 1;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("counter=%ld expected=%ld random=%08x time=%ld.%09ld\n",
           counter, 2 * rounds, random, (long)now.tv_sec, now.tv_nsec);
    return counter == 2 * rounds ? 0 : 42;
}
