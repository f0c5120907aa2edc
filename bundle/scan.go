package bundle

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// folder is the one folder that a bundle made elsewhere may have around all.
const folder = "bundle/"

// scanned is what a walk through a tar found.
type scanned struct {
	entries   []entry           // in the order of the tar; paths as they are there
	manifests map[string][]byte // by path: ManifestName or the same in folder
}

// scan walks through a tar and refuses whatever doesn't belong in a bundle.
// where tells how far the reader below tr is.
func scan(tr *tar.Reader, where func() int64, lim Limits) (*scanned, error) {
	found := &scanned{manifests: map[string][]byte{}}
	seen := map[string]bool{}
	var total, end int64
	for count := 0; ; count++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			if at := where(); at <= end && count > 0 {
				return nil, &DamagedError{Offset: -1, Need: "the end mark of the tar", Found: fmt.Sprintf("nothing behind byte %d of it", at)}
			}
			return found, nil
		}
		if err != nil {
			return nil, tarError(err, where(), count == 0)
		}
		if count >= lim.Entries {
			return nil, &LimitError{What: "files", Limit: int64(lim.Entries), Found: int64(count) + 1}
		}
		at := where()
		end = at + padded(h.Size)
		name, err := checkHeader(h, lim)
		if err != nil {
			return nil, err
		}
		if name == "" {
			continue
		}
		if seen[name] {
			return nil, &UnsafeError{Path: name, Reason: "is in the tar twice"}
		}
		seen[name] = true
		if h.Size > lim.File {
			return nil, &LimitError{Path: name, What: "bytes of a file", Limit: lim.File, Found: h.Size}
		}
		if total += h.Size; total > lim.Total {
			return nil, &LimitError{What: "bytes in all", Limit: lim.Total, Found: total}
		}
		if name == ManifestName || name == folder+ManifestName {
			text, err := readManifest(tr, h.Size, lim)
			if err != nil {
				return nil, err
			}
			found.manifests[name] = text
			continue
		}
		found.entries = append(found.entries, entry{File: File{Path: name, Size: h.Size}, at: at})
	}
}

func readManifest(r io.Reader, size int64, lim Limits) ([]byte, error) {
	if size > lim.Manifest {
		return nil, &LimitError{Path: ManifestName, What: "bytes", Limit: lim.Manifest, Found: size}
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, entryError(ManifestName, 0, err)
	}
	return text, nil
}

// checkHeader returns the path of a regular file, "" for what can be passed
// over, and an error for all else.
func checkHeader(h *tar.Header, lim Limits) (string, error) {
	name := h.Name
	for strings.HasPrefix(name, "./") {
		name = name[2:]
	}
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeXGlobalHeader:
		return "", nil
	case tar.TypeDir:
		if name = strings.TrimSuffix(name, "/"); name == "" || name == "." {
			return "", nil
		}
		return "", lim.checkName(name)
	default:
		return "", &UnsafeError{Path: h.Name, Reason: "is " + typeName(h.Typeflag) + ", only files may be in a bundle"}
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return "", &UnsafeError{Path: h.Name, Reason: "is a sparse file, whose size on disk says nothing"}
		}
	}
	return name, lim.checkName(name)
}

func typeName(flag byte) string {
	switch flag {
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeSymlink:
		return "a symbolic link"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a named pipe"
	case tar.TypeGNUSparse:
		return "a sparse file"
	}
	return fmt.Sprintf("a tar entry of type %q", flag)
}

// tarError brings what the tar reader says into our form.
func tarError(err error, at int64, first bool) error {
	if errors.Is(err, ErrDamaged) {
		return err // from a layer below, with a better place
	}
	if first {
		return fmt.Errorf("%w: need a tar, found something else", ErrNotBundle)
	}
	found := err.Error()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		found = "its end"
	}
	return &DamagedError{Offset: -1, Need: fmt.Sprintf("a tar that goes on at byte %d, unpacked", at), Found: found, Err: err}
}

// strip removes the folder around everything and picks the manifest.
func (s *scanned) strip() ([]byte, error) {
	if text, ok := s.manifests[ManifestName]; ok {
		if _, two := s.manifests[folder+ManifestName]; two {
			return nil, &UnsafeError{Path: folder + ManifestName, Reason: "is a second manifest"}
		}
		return text, nil
	}
	text, ok := s.manifests[folder+ManifestName]
	if !ok {
		return nil, fmt.Errorf("%w: need %s in the tar, found %d other files", ErrNotBundle, ManifestName, len(s.entries))
	}
	for i, e := range s.entries {
		rest, ok := strings.CutPrefix(e.Path, folder)
		if !ok {
			return nil, &UnsafeError{Path: e.Path, Reason: "is outside the folder of the manifest"}
		}
		s.entries[i].Path = rest
	}
	return text, nil
}

// isSignature tells whether name is a detached signature. Signatures of the
// manifest are the one thing that it can't list.
func isSignature(name string) bool {
	return path.Dir(name) == "attestations" && strings.HasSuffix(name, ".dsse.json")
}
