package bundle

import (
	"archive/tar"
	"cmp"
	"fmt"
	"io"
	"slices"
)

// open finds the manifest and the files, in whichever way the format allows.
func (r *Reader) open(src io.ReaderAt) error {
	switch r.form {
	case Tar:
		return r.openTar(src, r.size)
	case TarZstd:
		t, err := readSeekTable(src, r.size)
		if err != nil {
			return err
		}
		if t != nil && !slices.ContainsFunc(t.frames, func(f frame) bool { return f.size > maxFrame }) {
			r.form = Seekable
			return r.openSeekable(src, t)
		}
	}
	return r.openStream(src, r.size)
}

func (r *Reader) openSeekable(src io.ReaderAt, t *seekTable) error {
	if err := r.lim.checkRatio(r.size, t.size()); err != nil {
		return err
	}
	plain, err := newFrameReader(src, t, r.lim)
	if err != nil {
		return err
	}
	index, err := readIndex(src, t, r.lim)
	if err != nil {
		return err
	}
	if index == nil {
		return r.openTar(plain, t.size())
	}
	r.body = atBody{plain}
	return r.openIndexed(plain, t.size(), index)
}

// openIndexed reads the manifest and goes by the index for the rest.
func (r *Reader) openIndexed(plain io.ReaderAt, size int64, index []int64) error {
	sec := io.NewSectionReader(plain, 0, size)
	tr := tar.NewReader(sec)
	h, err := tr.Next()
	if err != nil {
		return tarError(err, 0, true)
	}
	name, err := checkHeader(h, r.lim)
	if err != nil {
		return err
	}
	if name != ManifestName {
		return &DamagedError{Offset: 0, Need: ManifestName + " as the first entry", Found: fmt.Sprintf("%.80q", name)}
	}
	if r.raw, err = readManifest(tr, h.Size, r.lim); err != nil {
		return err
	}
	if r.manifest, err = ParseManifest(r.raw); err != nil {
		return err
	}
	at, err := sec.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	list := r.manifest.Files
	if n := len(index) - 1; n > r.lim.Entries {
		return &LimitError{What: "files", Limit: int64(r.lim.Entries), Found: int64(n)}
	}
	if len(list) > len(index)-1 {
		return &DamagedError{Offset: -1, Need: fmt.Sprintf("an entry index of %d files", len(list)), Found: fmt.Sprint(len(index) - 1)}
	}
	if base := padded(at); index[0] != base {
		return &DamagedError{Offset: -1, Need: fmt.Sprintf("the first file at byte %d, unpacked", base), Found: fmt.Sprint(index[0])}
	}
	r.indexed, r.end = true, index[len(index)-1]
	var found []entry
	for i := range index[:len(index)-1] {
		e := entry{at: index[i], next: index[i+1], headed: true}
		if i < len(list) {
			e.File = list[i]
		} else if e.File, err = r.nameless(e); err != nil {
			return err
		}
		found = append(found, e)
	}
	return r.list(found)
}

// nameless looks up an entry behind those that the manifest lists.
func (r *Reader) nameless(e entry) (File, error) {
	h, _, err := r.header(&e)
	if err != nil {
		return File{}, err
	}
	name, err := checkHeader(h, r.lim)
	return File{Path: name, Size: h.Size}, err
}

func (r *Reader) openTar(src io.ReaderAt, size int64) error {
	r.body = atBody{src}
	sec := io.NewSectionReader(src, 0, size)
	return r.take(scan(tar.NewReader(sec), func() int64 {
		at, _ := sec.Seek(0, io.SeekCurrent) // can't fail
		return at
	}, r.lim))
}

func (r *Reader) openStream(src io.ReaderAt, size int64) error {
	open := func() (*stream, error) { return newStream(src, size, r.form, r.lim) }
	r.body = streamBody{open}
	s, err := open()
	if err != nil {
		return err
	}
	defer s.Close()
	found, err := scan(tar.NewReader(s), func() int64 { return s.out }, r.lim)
	if err == nil {
		// Whatever is behind the tar is nothing to us, but the checksum of the
		// compressed data is there too.
		_, err = io.Copy(io.Discard, s)
	}
	return r.take(found, err)
}

// take makes a reader of what a scan found.
func (r *Reader) take(found *scanned, err error) error {
	if err != nil {
		return err
	}
	if r.raw, err = found.strip(); err != nil {
		return err
	}
	if r.manifest, err = ParseManifest(r.raw); err != nil {
		return err
	}
	return r.list(found.entries)
}

// list brings the manifest and the tar together.
func (r *Reader) list(found []entry) error {
	if n := len(r.manifest.Files); n > r.lim.Entries {
		return &LimitError{What: "files", Limit: int64(r.lim.Entries), Found: int64(n)}
	}
	r.entries = make(map[string]*entry, len(found))
	for i := range found {
		e := &found[i]
		e.found = e.Size
		if r.entries[e.Path] != nil || e.Path == ManifestName {
			return &UnsafeError{Path: e.Path, Reason: "is in the tar twice"}
		}
		r.entries[e.Path] = e
	}
	if len(r.manifest.Files) == 0 {
		for _, e := range found {
			e.MediaType = MediaType(e.Path)
			r.files = append(r.files, e.File)
		}
		slices.SortFunc(r.files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	} else {
		r.files = r.manifest.Files
	}
	return r.match()
}

// match finds for each file of the manifest its entry, and what is left over.
func (r *Reader) match() error {
	var total int64
	listed := make(map[string]bool, len(r.files))
	for _, f := range r.files {
		listed[f.Path] = true
		if err := r.lim.checkName(f.Path); err != nil {
			return err
		}
		size := f.Size
		if f.PlainSize != nil { // what is encrypted can be a bomb inside, too
			size = max(size, *f.PlainSize)
		}
		if size > r.lim.File {
			return &LimitError{Path: f.Path, What: "bytes of a file", Limit: r.lim.File, Found: size}
		}
		if total += size; total > r.lim.Total {
			return &LimitError{What: "bytes in all", Limit: r.lim.Total, Found: total}
		}
		if err := r.lim.checkRatio(r.size, total); err != nil {
			return err
		}
		if e := r.entries[f.Path]; e != nil {
			e.File = f
		} else {
			r.entries[f.Path] = &entry{File: f, missing: true}
		}
	}
	for name := range r.entries {
		for i, c := range name {
			if c == '/' && r.entries[name[:i]] != nil {
				return &UnsafeError{Path: name, Reason: fmt.Sprintf("is below %q, which is a file", name[:i])}
			}
		}
	}
	for name := range r.entries {
		if !listed[name] && !isSignature(name) {
			r.unlisted = append(r.unlisted, name)
			delete(r.entries, name)
		}
	}
	slices.Sort(r.unlisted)
	return nil
}
