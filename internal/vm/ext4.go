package vm

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// ext4 reads the files out of an ext4 image (the kernel's
// Documentation/filesystems/ext4). Images come out of bundles, and debugfs
// writes to wherever a name or a link in a hostile one points; so this reads
// the few structures itself and trusts none of them.
type ext4 struct {
	r         io.ReaderAt
	size      int64 // of the image
	block     int64 // bytes of a block
	inodeSize int64
	perGroup  uint32 // inodes
	inodes    uint32
	descSize  int64
	descs     int64  // where the group descriptors start
	left      int64  // bytes that may still be read: a block belongs to one file
	names     uint32 // that may still be met: an inode has one
}

const (
	ext4Magic    = 0xef53
	ext4Root     = 2 // inode of the root directory
	rootReserved = 11

	incompatFiletype = 0x2
	incompatExtents  = 0x40
	incompat64bit    = 0x80
	incompatFlexBG   = 0x200
	incompatKnown    = incompatFiletype | incompatExtents | incompat64bit | incompatFlexBG

	flagExtents  = 0x80000
	extentMagic  = 0xf30a
	maxTreeDepth = 5
	maxDirDepth  = 200 // folders in folders
	maxExt4Link  = 4096
	maxExt4Name  = 255
)

func ext4Errorf(format string, args ...any) error {
	return fmt.Errorf("ext4 image: "+format, args...)
}

func openExt4(r io.ReaderAt, size int64) (*ext4, error) {
	var b [1024]byte
	if _, err := r.ReadAt(b[:], 1024); err != nil {
		return nil, ext4Errorf("superblock: %w", err)
	}
	le := binary.LittleEndian
	if le.Uint16(b[56:]) != ext4Magic {
		return nil, ext4Errorf("no superblock")
	}
	if bits := le.Uint32(b[96:]); bits&^incompatKnown != 0 || bits&incompatExtents == 0 || bits&incompatFiletype == 0 {
		return nil, ext4Errorf("features %#x, which tapedeck's images do not have", bits)
	}
	e := &ext4{r: r, size: size, left: size, inodeSize: int64(le.Uint16(b[88:])), perGroup: le.Uint32(b[40:]), inodes: le.Uint32(b[0:]), descSize: 32}
	if shift := le.Uint32(b[24:]); shift <= 6 {
		e.block = 1024 << shift
	}
	if le.Uint32(b[96:])&incompat64bit != 0 {
		e.descSize = int64(le.Uint16(b[254:]))
	}
	if e.block == 0 || e.inodeSize < 128 || e.inodeSize > e.block || e.perGroup == 0 || e.descSize < 32 || e.descSize > e.block {
		return nil, ext4Errorf("a superblock that can't be")
	}
	if int64(e.inodes) > size/e.inodeSize {
		return nil, ext4Errorf("more inodes than it has room for")
	}
	e.names = e.inodes
	e.descs = (int64(le.Uint32(b[20:])) + 1) * e.block
	return e, nil
}

// ext4Inode is one file.
type ext4Inode struct {
	mode  uint16
	flags uint32
	size  int64
	root  [60]byte // the extents' first node, or a short link
}

const (
	modeType = 0xf000
	modeDir  = 0x4000
	modeFile = 0x8000
	modeLink = 0xa000
)

func (e *ext4) inode(n uint32) (*ext4Inode, error) {
	if n == 0 || n > e.inodes || n != ext4Root && n < rootReserved {
		return nil, ext4Errorf("inode %d does not exist", n)
	}
	le := binary.LittleEndian
	var d [64]byte
	group, index := int64((n-1)/e.perGroup), int64((n-1)%e.perGroup)
	if _, err := e.r.ReadAt(d[:min(e.descSize, 64)], e.descs+group*e.descSize); err != nil {
		return nil, ext4Errorf("group %d: %w", group, err)
	}
	table := uint64(le.Uint32(d[8:]))
	if e.descSize >= 64 {
		table |= uint64(le.Uint32(d[40:])) << 32
	}
	at, ok := e.at(table)
	if !ok {
		return nil, ext4Errorf("group %d stands beyond the end", group)
	}
	var b [128]byte
	if _, err := e.r.ReadAt(b[:], at+index*e.inodeSize); err != nil {
		return nil, ext4Errorf("inode %d: %w", n, err)
	}
	in := &ext4Inode{mode: le.Uint16(b[0:]), flags: le.Uint32(b[32:]), size: int64(uint64(le.Uint32(b[4:])) | uint64(le.Uint32(b[108:]))<<32)}
	copy(in.root[:], b[40:])
	if in.size < 0 {
		return nil, ext4Errorf("inode %d has %d bytes", n, in.size)
	}
	return in, nil
}

// at is where a block starts in the image.
func (e *ext4) at(block uint64) (int64, bool) {
	if block >= uint64(e.size/e.block) {
		return 0, false
	}
	return int64(block) * e.block, true
}

// extents calls each for every piece of a file: where it is in the file and in
// the image, and how long. What no piece covers is zeros.
func (e *ext4) extents(in *ext4Inode, each func(off, at, n int64) error) error {
	if in.flags&flagExtents == 0 {
		if in.size == 0 {
			return nil
		}
		return ext4Errorf("a file without extents")
	}
	return e.walk(in.root[:], maxTreeDepth, each)
}

func (e *ext4) walk(node []byte, depth int, each func(off, at, n int64) error) error {
	le := binary.LittleEndian
	entries, level := int(le.Uint16(node[2:])), int(le.Uint16(node[6:]))
	if le.Uint16(node) != extentMagic || 12+12*entries > len(node) || level >= depth {
		return ext4Errorf("damaged extents")
	}
	for i := range entries {
		b := node[12+12*i:]
		if level == 0 {
			count := int64(le.Uint16(b[4:]))
			if count > 1<<15 {
				continue // set aside, not written: zeros
			}
			first := uint64(le.Uint32(b[8:])) | uint64(le.Uint16(b[6:]))<<32
			at, ok := e.at(first)
			if !ok || count*e.block > e.size-at {
				return ext4Errorf("an extent beyond the end")
			}
			if err := each(int64(le.Uint32(b))*e.block, at, count*e.block); err != nil {
				return err
			}
			continue
		}
		at, ok := e.at(uint64(le.Uint32(b[4:])) | uint64(le.Uint16(b[8:]))<<32)
		if !ok {
			return ext4Errorf("an extent beyond the end")
		}
		// What is read of the tree counts, too: its nodes could name each other.
		if err := e.spend(e.block); err != nil {
			return err
		}
		next := make([]byte, e.block)
		if _, err := e.r.ReadAt(next, at); err != nil {
			return ext4Errorf("extents: %w", err)
		}
		if err := e.walk(next, level, each); err != nil {
			return err
		}
	}
	return nil
}

// spend counts the blocks of n bytes.
func (e *ext4) spend(n int64) error {
	if e.left -= (n + e.block - 1) / e.block * e.block; e.left < 0 {
		return ext4Errorf("blocks that belong to several files")
	}
	return nil
}

// copyTo writes a file's content.
func (e *ext4) copyTo(w *os.File, in *ext4Inode) error {
	err := e.extents(in, func(off, at, n int64) error {
		if n = min(n, in.size-off); n <= 0 {
			return nil
		}
		if err := e.spend(n); err != nil {
			return err
		}
		_, err := io.Copy(io.NewOffsetWriter(w, off), io.NewSectionReader(e.r, at, n))
		return err
	})
	if err != nil {
		return err
	}
	return w.Truncate(in.size)
}

// bytes is the content of a small file: a folder or a link.
func (e *ext4) bytes(in *ext4Inode) ([]byte, error) {
	if in.size > e.left {
		return nil, ext4Errorf("a folder of %d bytes", in.size)
	}
	b := make([]byte, in.size)
	err := e.extents(in, func(off, at, n int64) error {
		if n = min(n, in.size-off); n <= 0 {
			return nil
		}
		if err := e.spend(n); err != nil {
			return err
		}
		_, err := e.r.ReadAt(b[off:off+n], at)
		return err
	})
	return b, err
}

func (e *ext4) link(in *ext4Inode) (string, error) {
	if in.size > maxExt4Link {
		return "", ext4Errorf("a link of %d bytes", in.size)
	}
	if in.flags&flagExtents == 0 && in.size < int64(len(in.root)) {
		return string(in.root[:in.size]), nil
	}
	b, err := e.bytes(in)
	return string(b), err
}

// entries calls each for every name in a folder but . and .. themselves.
func (e *ext4) entries(in *ext4Inode, each func(name string, inode uint32) error) error {
	b, err := e.bytes(in)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	for len(b) >= 8 {
		n, size, length := le.Uint32(b), int(le.Uint16(b[4:])), int(b[6])
		if size < 8 || size > len(b) || 8+length > size {
			return ext4Errorf("damaged folder")
		}
		name := string(b[8 : 8+length])
		b = b[size:]
		if n == 0 || name == "." || name == ".." {
			continue // free, or of the tree itself
		}
		if name == "" || length > maxExt4Name || strings.ContainsAny(name, "/\x00") {
			return ext4Errorf("a file named %q", name)
		}
		if e.names == 0 {
			return ext4Errorf("more names than files")
		}
		e.names--
		if err := each(name, n); err != nil {
			return err
		}
	}
	return nil
}

// find returns the folder called name in the root.
func (e *ext4) find(name string) (*ext4Inode, error) {
	top, err := e.inode(ext4Root)
	if err != nil {
		return nil, err
	}
	var found *ext4Inode
	err = e.entries(top, func(n string, inode uint32) error {
		if n == name {
			found, err = e.inode(inode)
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if found == nil || found.mode&modeType != modeDir {
		return nil, ext4Errorf("no folder /%s", name)
	}
	return found, nil
}

// extract writes a folder's files below dir. os.Root and O_EXCL keep every
// one of them there, whatever links the image has.
func (e *ext4) extract(root *os.Root, dir string, in *ext4Inode, depth int, cancelled func() error) error {
	if depth > maxDirDepth {
		return ext4Errorf("folders %d deep", depth)
	}
	return e.entries(in, func(name string, inode uint32) error {
		if err := cancelled(); err != nil {
			return err
		}
		in, err := e.inode(inode)
		if err != nil {
			return err
		}
		path := dir + "/" + name
		switch in.mode & modeType {
		case modeDir:
			if err := root.Mkdir(path, 0o700); err != nil {
				return err
			}
			return e.extract(root, path, in, depth+1, cancelled)
		case modeLink:
			target, err := e.link(in)
			if err != nil {
				return err
			}
			return root.Symlink(target, path)
		case modeFile:
			f, err := root.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(in.mode&0o700|0o600))
			if err != nil {
				return err
			}
			defer f.Close()
			if err := e.copyTo(f, in); err != nil {
				return err
			}
			return f.Close()
		}
		return nil
	})
}
