package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A stamp tells whether a file is the one that was looked at before: whatever
// writes to it or replaces it, changes the stamp. It can't tell what a failing
// disk does, so nothing relies on one for longer than stampLife.
type stamp struct {
	Path    string `json:"path"` // without links
	Device  uint64 `json:"dev"`
	Inode   uint64 `json:"ino"`
	Size    int64  `json:"size"`
	Written int64  `json:"mtime_ns"`
	Changed int64  `json:"ctime_ns"`
	Looked  int64  `json:"looked"` // when the file was read whole, in seconds since 1970
}

const (
	stampLife = time.Hour
	// stampAge is how long a file has to be unchanged before it gets a stamp.
	// Two changes within one tick of the file system's clock look like one.
	stampAge = 2 * time.Second
)

// stampOf makes the stamp of a file that is about to be read whole.
func stampOf(name string) (stamp, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return stamp{}, err
	}
	fi, err := os.Stat(real)
	if err != nil {
		return stamp{}, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, fmt.Errorf("%s: no inode", real)
	}
	return stamp{Path: real, Device: uint64(st.Dev), Inode: st.Ino, Size: st.Size, Written: st.Mtim.Nano(), Changed: st.Ctim.Nano(),
		Looked: time.Now().Unix()}, nil
}

// holds tells whether what was found out with the stamp s is still true of a
// file whose stamp is now.
func (s stamp) holds(now stamp) bool {
	age := time.Duration(now.Looked-s.Looked) * time.Second
	s.Looked = now.Looked
	return s == now && age >= 0 && age < stampLife
}

// settled tells whether the stamp is worth keeping.
func (s stamp) settled() bool {
	return time.Unix(s.Looked, 0).Sub(time.Unix(0, s.Changed)) >= stampAge
}
