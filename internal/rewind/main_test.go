package rewind

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMain lets the test binary play gdb: see fakeGDB. The recorder starts it
// too, as the step between it and the program.
func TestMain(m *testing.M) {
	watch.Main()
	if script := os.Getenv("REWIND_FAKE_GDB"); script != "" {
		fakeGDB(script)
		return
	}
	os.Exit(m.Run())
}

// fakeGDB plays a script. "> COMMAND" waits for a command and checks its
// beginning, "< LINE" answers with %t as the command's token, "! TEXT" speaks on
// standard error, "deaf" ignores SIGINT, "hang" and "exit" do so. After the script gdb obeys -gdb-exit.
func fakeGDB(script string) {
	text, err := os.ReadFile(script)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	in := bufio.NewScanner(os.Stdin)
	token := ""
	next := func() string {
		if !in.Scan() {
			os.Exit(0)
		}
		line := in.Text()
		i := strings.IndexFunc(line, func(r rune) bool { return r < '0' || r > '9' })
		token = line[:max(i, 0)]
		if line[max(i, 0):] == "-gdb-exit" {
			fmt.Println(token + "^exit")
			os.Exit(0)
		}
		return line[max(i, 0):]
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case ">":
			if got := next(); !strings.HasPrefix(got, rest) {
				fmt.Fprintf(os.Stderr, "the script wants %q, got %q\n", rest, got)
				os.Exit(4)
			}
		case "<":
			fmt.Println(strings.ReplaceAll(rest, "%t", token))
		case "!":
			fmt.Fprintln(os.Stderr, rest)
		case "hang":
			time.Sleep(time.Hour)
		case "deaf":
			signal.Ignore(os.Interrupt)
		case "exit":
			os.Exit(1)
		}
	}
	for {
		next()
	}
}

// fake starts the script's gdb.
func fake(t *testing.T, script string, limit time.Duration) *GDB {
	t.Helper()
	t.Setenv("REWIND_FAKE_GDB", script)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	g, err := startGDB(exe, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return g
}
