package main

import (
	"bytes"
	"runtime/debug"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/attest"
	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/sbom"
)

// attestTo adds what the program is made of, and where the bundle comes from,
// as its last files: the latter is about all the others. Both name files of
// the machine, which may name a person.
func attestTo(w *bundle.Writer, m *bundle.Manifest, rec *record.Recording, g *guard) error {
	self, _ := debug.ReadBuildInfo()
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	p := rec.Program
	parts := sbom.Describe(sbom.Program{Path: p.Path, Root: p.Root, Files: p.Uses, Cache: cache}, self, m.CreatedAt)
	list, err := parts.Encode()
	if err != nil {
		return err
	}
	add := func(name, kind, media string, data []byte) error {
		m.Attestations = append(m.Attestations, bundle.Attestation{Type: kind, File: name})
		return w.Add(name, bytes.NewReader(data), bundle.FileInfo{Media: media})
	}
	if err := add(attest.SBOMFile, attest.SBOMKind, "application/spdx+json", g.clean.JSON(list).Bytes()); err != nil {
		return err
	}
	text, err := attest.Recorded(m, w.Files(), attest.Run{
		Program: g.text(p.Path), ProgramSHA256: parts.ProgramSHA256, Tapedeck: version(),
		Started: rec.Started, Finished: m.CreatedAt,
	}).Encode()
	if err != nil {
		return err
	}
	return add(attest.ProvenanceFile, attest.ProvenanceKind, attest.PayloadType, text)
}
