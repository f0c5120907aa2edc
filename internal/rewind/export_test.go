package rewind

import "context"

// Console and Resume let tests outside of the package use the session's gdb as
// a person would.
func (s *Session) Console(ctx context.Context, command string) (string, error) {
	return s.gdb.console(ctx, command)
}

// Resume returns why gdb stopped and where.
func (s *Session) Resume(ctx context.Context, command string) (reason, pc string, err error) {
	stop, err := s.gdb.resume(ctx, command)
	return stop.str("reason"), stop.str("frame", "addr"), err
}
