package vm

import (
	"context"
	"os"
)

// ExtractWorld copies the program's files out of a world's image into dir, at
// their own paths below its folder "root".
func ExtractWorld(ctx context.Context, image, dir string) error {
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	e, err := openExt4(f, fi.Size())
	if err != nil {
		return err
	}
	top, err := e.find("root")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Mkdir("root", 0o700); err != nil {
		return err
	}
	return e.extract(root, "root", top, 0, func() error { return context.Cause(ctx) })
}
