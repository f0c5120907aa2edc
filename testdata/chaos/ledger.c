// Bug:   check, then act, on a file. A process that finds no ledger starts one;
//        two processes may both find none, and the one that starts it last
//        wipes out what the other has written (O_EXCL would have told).
// Shows: exit code 1, "the ledger has … lines".
// Rare:  the parent comes milliseconds after the child; between the look and the
//        start lies one system call.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef PROVE
#define WINDOW() usleep(20000)
#else
#define WINDOW()
#endif

static void write_line(int flags, const char *line)
{
    int fd = open("ledger", O_WRONLY | O_CREAT | flags, 0600);
    if (fd < 0 || write(fd, line, strlen(line)) < 0) {
        perror("ledger");
        exit(2);
    }
    close(fd);
}

static void record(const char *line)
{
    if (access("ledger", F_OK) != 0) {
        WINDOW();
        write_line(O_TRUNC, "who amount\n");
    }
    write_line(O_APPEND, line);
}

static int count_lines(void)
{
    char text[256];
    int fd = open("ledger", O_RDONLY), lines = 0;
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
    for (ssize_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    close(fd);
    return lines;
}

int main(void)
{
    char dir[] = "/tmp/ledger-XXXXXX";
    if (mkdtemp(dir) == NULL || chdir(dir) != 0)
        return 2;
    if (fork() == 0) {
        record("child 20\n");
        _exit(0);
    }
    usleep(5000); // the parent has to be asked first
    record("parent 10\n");
    wait(NULL);
    int lines = count_lines();
    unlink("ledger");
    rmdir(dir);
    if (lines != 3) {
        fprintf(stderr, "the ledger has %d lines, not 3\n", lines);
        return 1;
    }
    puts("ok");
    return 0;
}
