// Prints what it is given: arguments, working directory, environment, and
// standard input line by line. Exits with the number of input lines.
#include <stdio.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("arg %s\n", argv[i]);
    char cwd[4096];
    printf("cwd %s\n", getcwd(cwd, sizeof cwd) ? cwd : "?");
    for (char **e = environ; *e; e++)
        printf("env %s\n", *e);
    char line[4096];
    int lines = 0;
    while (fgets(line, sizeof line, stdin)) {
        printf("in %s", line);
        lines++;
    }
    return lines;
}
