package vm

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// ExtractWorld copies the program's files out of a world's image into dir, at
// their own paths below it.
func ExtractWorld(ctx context.Context, image, dir string) error {
	debugfs, err := exttool.Find("debugfs", "e2fsprogs")
	if err != nil {
		// Root's directories are often not in a user's PATH.
		if _, serr := os.Stat("/sbin/debugfs"); serr != nil {
			return err
		}
		debugfs = "/sbin/debugfs"
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// It exits with 0 whatever happens.
	out, err := exttool.Output(ctx, 5*time.Minute, debugfs, "-R", fmt.Sprintf("rdump %q %q", "/root", dir), image)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir + "/root"); err != nil {
		return fmt.Errorf("read the program's files: %s", lastLine(out))
	}
	return nil
}
