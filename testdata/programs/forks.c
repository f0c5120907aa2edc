// Forks 100 children, each with its own exit code, and adds the codes up.
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(i);
        if (pid < 0)
            return 1;
    }
    int sum = 0, children = 0, status;
    while (wait(&status) > 0) {
        sum += WEXITSTATUS(status);
        children++;
    }
    printf("children=%d sum=%d\n", children, sum);
    return children == 100 && sum == 4950 ? 0 : 1;
}
