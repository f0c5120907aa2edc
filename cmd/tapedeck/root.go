package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tapedeck",
		Short: "Record a failing run, replay it bit for bit, step backwards to its cause",
		Long: `tapedeck records a program's execution, packs it with everything that a replay
needs into one bundle, replays it bit for bit, and steps backwards from the
failure to its cause. Where the CPU's counters are there it records with rr,
and everywhere else in a small virtual machine.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &codeError{exitUsage, fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
	})
	root.AddCommand(newRecordCommand(), newReplayCommand(), newNondetCommand(), newRewindCommand(), newBundleCommand(), newKeyCommand(), newDoctorCommand(), newGenerateCommand(), newVersionCommand())
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			fmt.Fprintln(c.OutOrStdout(), "tapedeck", version())
			return nil
		},
	}
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = "git:" + s.Value[:min(12, len(s.Value))]
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return v
}

// cacheDir is where the guest kernel and the boot snapshots are kept.
func cacheDir() (string, error) {
	if dir := os.Getenv("TAPEDECK_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		// A service, or root on a bare machine, has no HOME.
		return ownDir(filepath.Join(os.TempDir(), fmt.Sprintf("tapedeck-cache-%d", os.Getuid())))
	}
	return filepath.Join(dir, "tapedeck"), nil
}

// ownDir makes a directory where others may write, too. What is there under
// its name must be ours alone: the cache's kernel runs what we record.
func ownDir(dir string) (string, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.IsDir() || int(st.Uid) != os.Geteuid() || fi.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s is not a directory of this user alone (%s): set HOME or TAPEDECK_CACHE", dir, fi.Mode())
	}
	return dir, nil
}
