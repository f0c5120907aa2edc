// Bug:   lock-order inversion. A transfer locks the account that it takes from,
//        then the one that it gives to; two transfers in opposite directions
//        can each hold what the other waits for.
// Shows: hangs.
// Rare:  each thread holds one lock without the other once, for a few
//        instructions, and is mostly through before the other has started.
#include <pthread.h>
#include <stdio.h>

#ifdef PROVE
#include <unistd.h>
#define WINDOW() usleep(20000)
#else
#define WINDOW()
#endif

struct account {
    pthread_mutex_t lock;
    long balance;
};

struct transfer {
    struct account *from, *to;
    long amount;
};

static struct account a = {PTHREAD_MUTEX_INITIALIZER, 1000};
static struct account b = {PTHREAD_MUTEX_INITIALIZER, 1000};

static void run(const struct transfer *t)
{
    pthread_mutex_lock(&t->from->lock);
    if (t->from->balance >= t->amount) {
        WINDOW();
        pthread_mutex_lock(&t->to->lock);
        t->from->balance -= t->amount;
        t->to->balance += t->amount;
        pthread_mutex_unlock(&t->to->lock);
    }
    pthread_mutex_unlock(&t->from->lock);
}

static void *teller(void *arg)
{
    run(arg);
    return NULL;
}

int main(void)
{
    struct transfer there = {&a, &b, 10};
    struct transfer back = {&b, &a, 30};
    pthread_t x, y;
    pthread_create(&x, NULL, teller, &there);
    pthread_create(&y, NULL, teller, &back);
    pthread_join(x, NULL);
    pthread_join(y, NULL);
    printf("a=%ld b=%ld\n", a.balance, b.balance);
    return 0;
}
