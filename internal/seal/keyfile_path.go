package seal

import (
	"os"
	"path/filepath"
)

// DefaultKeyFile is where this user's keys and salts are: the file that
// TAPEDECK_KEYS names, or one in the configuration folder; "" if there is no
// place for it.
func DefaultKeyFile() string {
	if file := os.Getenv("TAPEDECK_KEYS"); file != "" {
		return file
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "tapedeck", "keys.json")
}
