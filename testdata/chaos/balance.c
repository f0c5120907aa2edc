// Bug:   atomicity violation. Reading and setting a balance each take the
//        lock, but a deposit lets go of it in between; a deposit is lost.
// Shows: exit code 1, "account … holds …".
// Rare:  only one of the deposits goes to an account that both tellers serve,
//        and each is open for a few instructions.
#include <pthread.h>
#include <stdio.h>

#ifdef PROVE
#include <unistd.h>
#define WINDOW() usleep(20000)
#else
#define WINDOW()
#endif

enum { TELLERS = 2, DEPOSITS = 3, ACCOUNTS = 5 };

struct deposit {
    int account;
    long amount;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long balances[ACCOUNTS];

static long get_balance(int account)
{
    pthread_mutex_lock(&lock);
    long b = balances[account];
    pthread_mutex_unlock(&lock);
    return b;
}

static void set_balance(int account, long b)
{
    pthread_mutex_lock(&lock);
    balances[account] = b;
    pthread_mutex_unlock(&lock);
}

static void deposit(const struct deposit *d)
{
    long b = get_balance(d->account);
    WINDOW();
    set_balance(d->account, b + d->amount);
}

static void *teller(void *arg)
{
    const struct deposit *deposits = arg;
    for (int i = 0; i < DEPOSITS; i++)
        deposit(&deposits[i]);
    return NULL;
}

int main(void)
{
    struct deposit deposits[TELLERS][DEPOSITS] = {
        {{0, 20}, {2, 100}, {1, 30}},
        {{3, 400}, {2, 600}, {4, 50}},
    };
    static const long want[ACCOUNTS] = {20, 30, 700, 400, 50};
    pthread_t threads[TELLERS];
    for (int i = 0; i < TELLERS; i++)
        pthread_create(&threads[i], NULL, teller, deposits[i]);
    for (int i = 0; i < TELLERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < ACCOUNTS; i++) {
        if (get_balance(i) != want[i]) {
            fprintf(stderr, "account %d holds %ld, not %ld\n", i, get_balance(i), want[i]);
            return 1;
        }
    }
    puts("ok");
    return 0;
}
