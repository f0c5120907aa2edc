// Bug:   a reference count that is lowered in one step and looked at in another:
//        two threads that release a message together both see zero.
// Shows: SIGABRT, glibc's "double free or corruption".
// Rare:  a message's last two releases must fall into the same few instructions.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef PROVE
#include <unistd.h>
#define WINDOW() usleep(20000)
#else
#define WINDOW()
#endif

enum { MESSAGES = 3 };

struct message {
    struct message *next;
    size_t size;
    atomic_int refs;
    char text[2000];
};

static struct message *new_message(struct message *next, const char *text)
{
    struct message *m = malloc(sizeof *m);
    m->next = next;
    m->size = strlen(text);
    m->refs = 2; // one for each subscriber
    strcpy(m->text, text);
    return m;
}

static void release(struct message *m)
{
    m->refs--;
    WINDOW();
    if (m->refs == 0)
        free(m);
}

static void *subscriber(void *arg)
{
    size_t *total = calloc(1, sizeof *total);
    for (struct message *m = arg, *next; m != NULL; m = next) {
        next = m->next;
        *total += m->size;
        release(m);
    }
    return total;
}

int main(void)
{
    static const char *const texts[MESSAGES] = {"order created", "order paid", "order shipped"};
    struct message *list = NULL;
    for (int i = 0; i < MESSAGES; i++)
        list = new_message(list, texts[i]);
    pthread_t a, b;
    pthread_create(&a, NULL, subscriber, list);
    pthread_create(&b, NULL, subscriber, list);
    void *x, *y;
    pthread_join(a, &x);
    pthread_join(b, &y);
    printf("%zu and %zu bytes\n", *(size_t *)x, *(size_t *)y);
    free(x);
    free(y);
    return 0;
}
