package vm

import (
	"encoding/binary"
	"os"
)

// createQcow2 writes an empty qcow2 image (QEMU's docs/interop/qcow2.txt): a
// disk of no use but to hold machine snapshots. QEMU then needs no qemu-img.
func createQcow2(name string) error {
	const cluster = 1 << 16
	b := make([]byte, 4*cluster)
	be := binary.BigEndian
	be.PutUint32(b[0:], 0x514649fb) // "QFI\xfb"
	be.PutUint32(b[4:], 3)          // version
	be.PutUint32(b[20:], 16)        // cluster_bits
	be.PutUint64(b[24:], 1<<20)     // size of the disk in bytes
	be.PutUint32(b[36:], 1)         // l1_size
	be.PutUint64(b[40:], 3*cluster) // l1_table_offset
	be.PutUint64(b[48:], 1*cluster) // refcount_table_offset
	be.PutUint32(b[56:], 1)         // refcount_table_clusters
	be.PutUint32(b[96:], 4)         // refcount_order: 16 bits
	be.PutUint32(b[100:], 104)      // header_length
	be.PutUint64(b[cluster:], 2*cluster)
	for i := range 4 { // the four clusters that this file has are in use
		be.PutUint16(b[2*cluster+2*i:], 1)
	}
	return os.WriteFile(name, b, 0o644)
}
