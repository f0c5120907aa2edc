// Makes 200,000 small reads, from its own file and from /dev/urandom by turns.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    int self = open("/proc/self/exe", O_RDONLY), random = open("/dev/urandom", O_RDONLY);
    if (self < 0 || random < 0) {
        perror("open");
        return 1;
    }
    unsigned long sum = 0;
    for (int i = 0; i < 200000; i++) {
        unsigned char c[4];
        ssize_t n = i % 2 ? read(random, c, sizeof c) : pread(self, c, sizeof c, i % 4096);
        if (n != sizeof c) {
            perror("read");
            return 1;
        }
        sum = sum * 31 + c[0];
    }
    printf("sum=%016lx\n", sum);
    return 0;
}
