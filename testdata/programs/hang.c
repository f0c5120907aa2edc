// Hangs: two threads wait for each other's pipe. Says so first, and never ends.
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static int a[2], b[2];

static void *other(void *arg)
{
    char c;
    if (read(a[0], &c, 1) == 1 && write(b[1], &c, 1) == 1)
        puts("answered");
    return arg;
}

int main(void)
{
    pthread_t t;
    if (pipe(a) || pipe(b) || pthread_create(&t, NULL, other, NULL))
        return 1;
    puts("waiting");
    fflush(stdout);
    char c;
    if (read(b[0], &c, 1) == 1 && write(a[1], &c, 1) == 1)
        puts("answered");
    return 0;
}
