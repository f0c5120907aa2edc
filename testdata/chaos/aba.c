// Bug:   ABA. A lock-free list of free buffers: pop reads the head and the one
//        after it, then swaps the head. If the head was taken and put back in
//        between, the swap succeeds, with a next that is no longer free.
// Shows: exit code 1, "buffer … has two owners".
// Rare:  another thread must take two buffers and return the first of them
//        within the few instructions between the read and the swap.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef PROVE
#include <unistd.h>
#define WINDOW() usleep(rand() % 4000)
#else
#define WINDOW()
#endif

enum { BUFFERS = 12, THREADS = 3 };

struct buffer {
    struct buffer *_Atomic next;
    atomic_int owners;
    char text[64];
};

static struct buffer buffers[BUFFERS];
static struct buffer *_Atomic head;

static void push(struct buffer *b)
{
    b->owners--;
    struct buffer *h = head;
    do
        b->next = h;
    while (!atomic_compare_exchange_weak(&head, &h, b));
}

static struct buffer *pop(void)
{
    struct buffer *h = head, *next;
    do {
        if (h == NULL)
            abort();
        next = h->next;
        WINDOW();
    } while (!atomic_compare_exchange_weak(&head, &h, next));
    if (++h->owners != 1) {
        fprintf(stderr, "buffer %td has two owners\n", h - buffers);
        exit(1);
    }
    return h;
}

// write_reply keeps the body until the reply is sent; the header is free again.
static void *write_reply(void *arg)
{
    struct buffer *header = pop(), *body = pop();
    snprintf(header->text, sizeof header->text, "200 %s", (char *)arg);
    snprintf(body->text, sizeof body->text, "body of %s", (char *)arg);
    push(header);
    return body;
}

int main(void)
{
    static char *const names[THREADS] = {"a.html", "b.html", "c.html"};
    pthread_t threads[THREADS];
    for (int i = 0; i < BUFFERS; i++) {
        buffers[i].owners = 1;
        push(&buffers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, write_reply, names[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = THREADS; i < BUFFERS; i++)
        pop(); // all that nobody holds
    puts("ok");
    return 0;
}
