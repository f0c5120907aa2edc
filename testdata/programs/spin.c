// A loop that only computes: 500 million rounds, or as many as it is told.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 500000000;
    uint32_t x = 1;
    for (long i = 0; i < rounds; i++)
        x = x * 1664525 + 1013904223;
    printf("x=%08x\n", x);
    return 0;
}
