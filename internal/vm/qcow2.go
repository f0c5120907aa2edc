package vm

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

const (
	qcow2Magic   = 0x514649fb // "QFI\xfb"
	qcow2Version = 3
	qcow2Header  = 104
	clusterBits  = 16
	diskSize     = 1 << 20 // of the disk, of no use, that the snapshot hangs on
	scratchSize  = 1 << 40 // of a snapshot's file with all that a machine adds to it
)

// createQcow2 writes an empty qcow2 image (QEMU's docs/interop/qcow2.txt): a
// disk of that many bytes, at most 4 TiB. QEMU then needs no qemu-img.
func createQcow2(name string, size uint64) error {
	const cluster = 1 << clusterBits
	const perEntry = cluster / 8 * cluster // bytes of the disk behind an entry of the first table
	b := make([]byte, 4*cluster)
	be := binary.BigEndian
	be.PutUint32(b[0:], qcow2Magic)
	be.PutUint32(b[4:], qcow2Version)
	be.PutUint32(b[20:], clusterBits)
	be.PutUint64(b[24:], size)
	be.PutUint32(b[36:], uint32((size+perEntry-1)/perEntry)) // l1_size
	be.PutUint64(b[40:], 3*cluster)                          // l1_table_offset
	be.PutUint64(b[48:], 1*cluster)                          // refcount_table_offset
	be.PutUint32(b[56:], 1)                                  // refcount_table_clusters
	be.PutUint32(b[96:], 4)                                  // refcount_order: 16 bits
	be.PutUint32(b[100:], qcow2Header)                       // header_length
	be.PutUint64(b[cluster:], 2*cluster)
	for i := range 4 { // the four clusters that this file has are in use
		be.PutUint16(b[2*cluster+2*i:], 1)
	}
	return os.WriteFile(name, b, 0o600)
}

// checkQcow2 refuses an image that is not of the kind that createQcow2 and
// QEMU make. Above all it must not name other files: the format can have a
// backing file or an external data file anywhere on this machine, and QEMU
// would open and show them to the guest.
func checkQcow2(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var h [qcow2Header]byte
	if _, err := io.ReadFull(f, h[:]); err != nil {
		return &SnapshotError{"a qcow2 image", err.Error(), err}
	}
	be := binary.BigEndian
	for _, field := range []struct {
		name string
		got  uint64
		want uint64
	}{
		{"magic number", uint64(be.Uint32(h[0:])), qcow2Magic},
		{"version", uint64(be.Uint32(h[4:])), qcow2Version},
		{"offset of a backing file's name", be.Uint64(h[8:]), 0},
		{"length of a backing file's name", uint64(be.Uint32(h[16:])), 0},
		{"cluster bits", uint64(be.Uint32(h[20:])), clusterBits},
		{"disk size", be.Uint64(h[24:]), diskSize},
		{"encryption method", uint64(be.Uint32(h[32:])), 0},
		{"number of snapshots", uint64(be.Uint32(h[60:])), 1},
		{"set of incompatible features", be.Uint64(h[72:]), 0}, // an external data file is one
		{"header length", uint64(be.Uint32(h[100:])), qcow2Header},
	} {
		if field.got != field.want {
			return &SnapshotError{Need: fmt.Sprintf("a qcow2 image with %s %#x", field.name, field.want), Found: fmt.Sprintf("%#x", field.got)}
		}
	}
	return checkExtensions(f)
}

// checkExtensions looks at what follows the header. QEMU itself writes a table
// of the names of features, which is only for people.
func checkExtensions(r io.Reader) error {
	const featureNames = 0x6803f857
	for at := qcow2Header; at < 1<<clusterBits; {
		var h [8]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return &SnapshotError{"a qcow2 image with whole header extensions", err.Error(), err}
		}
		kind, size := binary.BigEndian.Uint32(h[:]), binary.BigEndian.Uint32(h[4:])
		if kind == 0 {
			return nil
		}
		if kind != featureNames || size > 1<<clusterBits {
			return &SnapshotError{Need: "a qcow2 image without header extensions", Found: fmt.Sprintf("one of kind %#x, %d bytes", kind, size)}
		}
		padded := (int64(size) + 7) &^ 7
		if _, err := io.CopyN(io.Discard, r, padded); err != nil {
			return &SnapshotError{"a qcow2 image with whole header extensions", err.Error(), err}
		}
		at += 8 + int(padded)
	}
	return &SnapshotError{Need: "a qcow2 image whose header ends", Found: "extensions without an end"}
}
