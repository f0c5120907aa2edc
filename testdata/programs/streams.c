// Writes to standard output and standard error by turns, with and without
// buffering, then leaves a last line without a newline on each. Exits 9.
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < 100; i++) {
        printf("out %d\n", i);
        fprintf(stderr, "err %d\n", i);
        if (i % 10 == 0 && write(STDOUT_FILENO, "raw\0\xff\n", 6) != 6)
            return 1;
    }
    fputs("last err", stderr);
    fputs("last out", stdout);
    return 9;
}
