// A position-independent program that uses a shared library of its own and
// dies by SIGSEGV on the third order: find_item returned NULL.
#include "inventory.h"

#include <stdio.h>

static int stock_of(const char *name)
{
    return find_item(name)->stock;
}

int main(void)
{
    const char *orders[] = {"bolt", "washer", "rivet"};
    for (int i = 0; i < 3; i++) {
        printf("%s: %d\n", orders[i], stock_of(orders[i]));
        fflush(stdout);
    }
    return 0;
}
