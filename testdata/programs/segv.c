// Dies by SIGSEGV: a list is walked one node too far.
#include <stdio.h>

struct node {
    int value;
    struct node *next;
};

static int nth(struct node *list, int n)
{
    while (n-- > 0)
        list = list->next;
    return list->value;
}

int main(void)
{
    struct node c = {3, NULL}, b = {2, &c}, a = {1, &b};
    for (int i = 0; i < 4; i++) {
        printf("node %d is %d\n", i, nth(&a, i));
        fflush(stdout);
    }
    return 0;
}
