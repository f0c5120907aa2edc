#include "inventory.h"

#include <stddef.h>
#include <string.h>

static const struct item items[] = {{"bolt", 12}, {"nut", 40}, {"washer", 7}};

const struct item *find_item(const char *name)
{
    for (size_t i = 0; i < sizeof items / sizeof *items; i++)
        if (strcmp(items[i].name, name) == 0)
            return &items[i];
    return NULL;
}
