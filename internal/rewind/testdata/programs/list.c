/* A system call overwrites a variable, an assignment breaks a list, and the
 * walk over it crashes. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct node {
	int id;
	struct node *next;
};
static struct node *head;
static int total;

__attribute__((noinline)) static void add(int id)
{
	struct node *n = malloc(sizeof *n);
	n->id = id;
	n->next = head;
	head = n;
	total += id;
}

__attribute__((noinline)) static void fill(char *to, int fd)
{
	if (read(fd, to, 8) != 8)
		exit(3);
}

__attribute__((noinline)) static int walk(int *steps)
{
	int sum = 0;
	for (struct node *p = head; p; p = p->next) {
		sum += p->id;
		++*steps;
	}
	return sum;
}

int main(int argc, char **argv)
{
	int steps = 0;
	_Alignas(8) char magic[8] = "initial";
	int fd = open(argv[0], O_RDONLY);
	for (int i = 1; i <= 5; i++)
		add(i);
	fill(magic, fd);
	head->next->next = (struct node *)0x10;
	return walk(&steps) + argc;
}
