//go:build !linux

package rr

import "syscall"

// rr runs on Linux alone: elsewhere Probe finds none.
func childAttr(bool) *syscall.SysProcAttr { return nil }
