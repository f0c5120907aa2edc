// session-cache: worker threads serve requests and remember, in a small
// table, who was seen last in each slot. A janitor ages the sessions.
//
// There is no lock: every field that two threads touch is atomic. That is
// enough for each field, and it is the bug (see README.md).
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1024, WORKERS = 4, REQUESTS = 10000, NAME_SIZE = 40 };

enum state { FREE, ACTIVE, IDLE, EXPIRED };

struct session {
    _Atomic uint32_t hits;
    _Atomic uint32_t name_len;
    char name[NAME_SIZE]; // folded to lower case, not terminated
    _Atomic uint32_t state;
    _Atomic uint32_t age; // sweeps since the session was last active
};

static struct session sessions[SLOTS];
static atomic_int running = WORKERS;

static const char *const given[] = {
    "Ada", "Björn", "Chloé", "Dmitri", "Edsger", "Fatima", "Grace", "Hedy", "Ivan",
    "Jürgen", "Katherine", "Linus", "Margaret", "Niklaus", "Olga", "Pedro", "Radia", "Sofía",
};
static const char *const family[] = {
    "Abe", "Berg", "Costa", "Dahl", "Engström", "Fotheringham", "García", "Hamilton", "Ito",
    "Jansen", "Kaleo", "Lovelace", "Moreau", "Núñez", "Okafor", "Papadimitriou", "Quist", "Rossi",
    "Silva", "Tanaka", "Ueda", "Vijayaraghavachari", "Wirth", "Zhou",
};

struct request {
    uint32_t user;
    const char *given, *family;
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
    return *x;
}

static struct request next_request(uint64_t *rng)
{
    uint64_t r = next_random(rng);
    return (struct request){
        .user = r >> 40,
        .given = given[(r >> 8) % COUNT(given)],
        .family = family[(r >> 20) % COUNT(family)],
    };
}

// utf8_fit returns how many bytes of text fit into room, in whole characters.
static size_t utf8_fit(const char *text, size_t room)
{
    size_t n = 0;
    while (text[n] != '\0') {
        unsigned char lead = text[n];
        size_t len = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        if (n + len > room)
            break;
        n += len;
    }
    return n;
}

// append_name adds text to the session's name, cut to the room that is left.
static void append_name(struct session *s, const char *text)
{
    size_t n = utf8_fit(text, NAME_SIZE - s->name_len);
    char *end = s->name + s->name_len;
    for (size_t i = 0; i < n; i++)
        end[i] = text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i];
    s->name_len += n;
}

static void touch(struct session *s)
{
    s->hits++;
    s->age = 0;
    if (s->state == FREE || s->state == IDLE)
        s->state = ACTIVE;
}

static void handle(struct request req)
{
    struct session *s = &sessions[req.user % SLOTS];
    touch(s);
    s->name_len = 0;
    append_name(s, req.given);
    append_name(s, " ");
    append_name(s, req.family);
}

static void *worker(void *arg)
{
    (void)arg;
    uint64_t rng;
    if (getrandom(&rng, sizeof rng, 0) != sizeof rng)
        abort();
    for (int i = 0; i < REQUESTS; i++)
        handle(next_request(&rng));
    running--;
    return NULL;
}

static void corrupt(int i)
{
    struct session *s = &sessions[i];
    fprintf(stderr, "session-cache: sessions[%d].state is 0x%x, which is no state (name \"%.*s\", %u hits)\n",
            i, s->state, NAME_SIZE, s->name, s->hits);
    abort();
}

// sweep ages every session by one step, and trusts nothing that it reads.
static void sweep(void)
{
    for (int i = 0; i < SLOTS; i++) {
        struct session *s = &sessions[i];
        switch (s->state) {
        case FREE:
            break;
        case ACTIVE:
            s->state = IDLE;
            break;
        case IDLE:
            if (++s->age > 5)
                s->state = EXPIRED;
            break;
        case EXPIRED:
            s->name_len = 0;
            s->state = FREE;
            break;
        default:
            corrupt(i);
        }
    }
}

int main(void)
{
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, worker, NULL);
    while (running > 0) {
        usleep(500);
        sweep();
    }
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    sweep();
    puts("session-cache: all sessions are consistent");
    return 0;
}
