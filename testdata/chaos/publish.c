// Bug:   order violation. The monitor's thread is started before the monitor is
//        complete: main sets its statistics right after pthread_create.
// Shows: SIGSEGV in watch.
// Rare:  main needs a few hundred instructions for what the new thread uses
//        only after its first nap of three milliseconds.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef PROVE
#define WINDOW() usleep(20000)
#else
#define WINDOW()
#endif

struct stats {
    int beats;
    long uptime; // µs
};

struct monitor {
    char name[32];
    int period; // µs
    pthread_t thread;
    struct stats *stats;
};

static void *watch(void *arg)
{
    struct monitor *m = arg;
    for (int i = 0; i < 3; i++) {
        usleep(m->period);
        m->stats->beats++;
        m->stats->uptime += m->period;
    }
    return NULL;
}

static void start(struct monitor *m)
{
    pthread_create(&m->thread, NULL, watch, m);
    WINDOW();
    snprintf(m->name, sizeof m->name, "monitor-%dus", m->period);
    m->stats = calloc(1, sizeof *m->stats);
}

int main(void)
{
    struct monitor m = {.period = 3000};
    start(&m);
    pthread_join(m.thread, NULL);
    printf("%s: %d beats in %ld us\n", m.name, m.stats->beats, m.stats->uptime);
    free(m.stats);
    return 0;
}
