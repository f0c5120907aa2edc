/* For gdb's own recording: no call of the C library once main runs. */
struct account {
	int id;
	long balance;
};
static int counter;
static struct account accounts[3];
static int *where = &counter;

__attribute__((noinline)) void bump(void) { counter++; }
__attribute__((noinline)) void set(int v) { *where = v; }
__attribute__((noinline)) void pay(struct account *a, long n) { a->balance -= n; }
__attribute__((noinline)) void twice(int *p) { *p *= 2; }
__attribute__((noinline)) int clobber(void)
{
	volatile int used[16];
	for (int i = 0; i < 16; i++)
		used[i] = 1000 + i;
	return used[3];
}
__attribute__((noinline)) void failure(void) { asm volatile("nop"); }

int main(void)
{
	int mine = clobber();
	mine = 5;
	for (int i = 0; i < 10; i++)
		bump();
	set(42);
	set(42);
	pay(&accounts[1], 7);
	pay(&accounts[2], 1);
	twice(&mine);
	failure();
	return mine;
}
