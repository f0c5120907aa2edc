package rewind

import (
	"fmt"
	"syscall"
)

// Position is a moment of a recording: "vm:icount=N", instructions that the
// recorded machine has executed, or "rr:EVENT".
type Position string

// Ending is how a process ended.
type Ending struct {
	Code   int    `json:"code"`             // as a shell gives it: 128+n for a signal
	Signal string `json:"signal,omitempty"` // the signal that killed it
	Core   bool   `json:"core,omitempty"`   // it was one that dumps core: a crash
	// Running is set when the recording ends before the process does.
	Running bool `json:"running,omitempty"`
}

func (e Ending) String() string {
	if e.Running {
		return "still running at the end of the recording"
	}
	if e.Signal != "" {
		return "killed by " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// Ended is a process of the recording that ended before the one looked at.
type Ended struct {
	PID      int      `json:"pid"`
	Name     string   `json:"name"`
	Position Position `json:"position"`
	Ending
}

// Failure is the end of the process: where a session begins.
type Failure struct {
	PID      int      `json:"pid,omitempty"`
	Name     string   `json:"name,omitempty"`
	Thread   int      `json:"thread,omitempty"` // that ended the process or was killed
	Position Position `json:"position"`
	Ending
	// Panic names the function of the language's runtime that the position is at
	// when the program ended itself: the end comes some time after it.
	Panic  string  `json:"panic,omitempty"`
	Others []Ended `json:"others,omitempty"`
}

// Thread is a thread of the process. ID is the recorded program's own.
type Thread struct {
	ID        int    `json:"id"`
	Name      string `json:"name,omitempty"`
	Goroutine int64  `json:"goroutine,omitempty"`
}

// Frame is one function of a stack.
type Frame struct {
	Level    int    `json:"level"`
	Function string `json:"function,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Object   string `json:"object,omitempty"` // library or program, when there is no source
	Address  string `json:"address"`
	Args     []Arg  `json:"args,omitempty"`
}

// Arg is an argument of a function.
type Arg struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Stack is a thread and where it was.
type Stack struct {
	Position Position `json:"position"`
	Thread   Thread   `json:"thread"`
	Frames   []Frame  `json:"frames"`
}

// Value is an expression and what it was.
type Value struct {
	Expr     string   `json:"expr"`
	Type     string   `json:"type,omitempty"`
	Value    string   `json:"value"`
	Frame    int      `json:"frame"` // in which it was evaluated
	Function string   `json:"function,omitempty"`
	Position Position `json:"position"`
}

// Write is a store that changed the value of an expression.
type Write struct {
	Expr     string   `json:"expr"`
	Address  string   `json:"address"`
	Type     string   `json:"type,omitempty"`
	Position Position `json:"position"` // right before the store
	Thread   Thread   `json:"thread"`
	Function string   `json:"function,omitempty"` // of the innermost frame
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
	Old      string   `json:"old"`
	New      string   `json:"new"`
	// Kernel is set when a system call made the store; the stack is that of the call.
	Kernel bool `json:"kernel,omitempty"`
	// Instruction is the machine instruction that stored.
	Instruction string `json:"instruction,omitempty"`
	// Foreign is set when EXPR is a local variable and the store came before its
	// function was entered: something else used that part of the stack.
	Foreign bool `json:"before_frame,omitempty"`
	// Before is how many instructions of the machine lie between the store and the
	// failure, those of the kernel and of other processes included; 0 if not known.
	Before uint64  `json:"instructions_before_failure,omitempty"`
	Frames []Frame `json:"frames"`
}

var signalNames = map[syscall.Signal]string{
	syscall.SIGABRT: "SIGABRT", syscall.SIGALRM: "SIGALRM", syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE",
	syscall.SIGHUP: "SIGHUP", syscall.SIGILL: "SIGILL", syscall.SIGINT: "SIGINT", syscall.SIGKILL: "SIGKILL",
	syscall.SIGPIPE: "SIGPIPE", syscall.SIGQUIT: "SIGQUIT", syscall.SIGSEGV: "SIGSEGV", syscall.SIGSYS: "SIGSYS",
	syscall.SIGTERM: "SIGTERM", syscall.SIGTRAP: "SIGTRAP", syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2",
	syscall.SIGXCPU: "SIGXCPU",
}

func signalName(s syscall.Signal) string {
	if n, ok := signalNames[s]; ok {
		return n
	}
	return fmt.Sprintf("signal %d", int(s))
}

func signalNumber(name string) int {
	for n, text := range signalNames {
		if text == name {
			return int(n)
		}
	}
	return 0
}
