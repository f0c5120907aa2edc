package vm

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreateQcow2(t *testing.T) {
	t.Parallel()
	scratch := filepath.Join(t.TempDir(), "scratch.qcow2")
	if err := createQcow2(scratch, scratchSize); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("qemu-img", "check", scratch).CombinedOutput(); err != nil {
		t.Errorf("qemu-img check: %v\n%s", err, out)
	}
	name := filepath.Join(t.TempDir(), "x.qcow2")
	if err := createQcow2(name, diskSize); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", name}, {"snapshot", "-c", snapshotTag, name}, {"check", name}} {
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %s: %v\n%s(make test installs what is missing)", args, err, out)
		}
	}
	if err := checkQcow2(name); err != nil {
		t.Errorf("an image with a snapshot: %v", err)
	}
}

// What makes QEMU open other files, and what we never make, is refused.
func TestCheckQcow2(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if err := createQcow2(good, diskSize); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	text[63] = 1
	be := binary.BigEndian
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   string
	}{
		"as it is":           {func(b []byte) []byte { return b }, ""},
		"feature names":      {func(b []byte) []byte { copy(b[104:], "\x68\x03\xf8\x57\x00\x00\x00\x30"); return b }, ""},
		"empty":              {func(b []byte) []byte { return nil }, "a qcow2 image"},
		"raw":                {func(b []byte) []byte { return make([]byte, 4096) }, "magic"},
		"short":              {func(b []byte) []byte { return b[:100] }, "a qcow2 image"},
		"version 2":          {func(b []byte) []byte { b[7] = 2; return b }, "version"},
		"backing file":       {func(b []byte) []byte { be.PutUint64(b[8:], 0x200); be.PutUint32(b[16:], 11); return b }, "backing file"},
		"backing name only":  {func(b []byte) []byte { be.PutUint32(b[16:], 11); return b }, "backing file"},
		"encryption":         {func(b []byte) []byte { be.PutUint32(b[32:], 2); return b }, "encryption"},
		"external data":      {func(b []byte) []byte { be.PutUint64(b[72:], 4); return b }, "incompatible"},
		"unknown feature":    {func(b []byte) []byte { b[72] = 0x80; return b }, "incompatible"},
		"other cluster size": {func(b []byte) []byte { b[23] = 21; return b }, "cluster"},
		"huge disk":          {func(b []byte) []byte { b[24] = 0x7f; return b }, "disk size"},
		"no snapshot":        {func(b []byte) []byte { b[63] = 0; return b }, "snapshots"},
		"many snapshots":     {func(b []byte) []byte { b[60] = 0xff; return b }, "snapshots"},
		"long header":        {func(b []byte) []byte { b[103] = 112; return b }, "header length"},
		"data file's name":   {func(b []byte) []byte { copy(b[104:], "\x44\x41\x54\x41\x00\x00\x00\x08"); return b }, "extensions"},
		"backing format":     {func(b []byte) []byte { copy(b[104:], "\xe2\x79\x2a\xca\x00\x00\x00\x03raw"); return b }, "extensions"},
		"endless extensions": {func(b []byte) []byte {
			for i := 104; i+8 <= len(b); i += 8 {
				copy(b[i:], "\x68\x03\xf8\x57\x00\x00\x00\x00")
			}
			return b
		}, "whose header ends"},
		"huge extension": {func(b []byte) []byte { copy(b[104:], "\x68\x03\xf8\x57\xff\xff\xff\xff"); return b }, "extensions"},
		"cut extension":  {func(b []byte) []byte { copy(b[104:], "\x68\x03\xf8\x57\x00\x00\x10\x00"); return b[:200] }, "whole header extensions"},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(file, c.change(append([]byte{}, text...)), 0o600); err != nil {
			t.Fatal(err)
		}
		err := checkQcow2(file)
		var bad *SnapshotError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}
