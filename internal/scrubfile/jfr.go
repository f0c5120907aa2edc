package scrubfile

import (
	"io"

	"github.com/tapedeck-dev/tapedeck/internal/jfr"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// jfrFile scrubs each string by the name of its field, or by its key where an
// event has a key and a value. A chunk that the JVM had not finished is left out.
func jfrFile(s *scrub.Scrubber, dst io.Writer, src io.ReaderAt, size int64) error {
	_, err := jfr.Scrub(dst, src, size, func(f jfr.Field, text string) string {
		switch {
		case f.Type == "jdk.types.Symbol":
			return text // names of classes and methods: of the program, not of its data
		case f.Type == "jdk.InitialEnvironmentVariable" && f.Path == "value":
			return s.Field(scrub.Env, f.Name, text)
		case f.Name == "jvmArguments", f.Name == "javaArguments", f.Name == "jvmFlags", f.Name == "commandLine":
			return commandLine(s, text)
		case f.Path == "":
			return string(s.Text([]byte(text)).Bytes())
		}
		return s.Field(scrub.Attr, f.Name, text)
	})
	return err
}
