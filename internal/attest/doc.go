// Package attest says where a bundle comes from, and proves who says so.
//
// A [Statement] is an in-toto statement with a SLSA provenance: the recorder
// writes one, unsigned, into each bundle ([Recorded]). A signature is an
// [Envelope] around such a statement about the bundle's manifest, through whose
// digests it covers every file ([Sign]). A [Policy] says what a bundle must
// prove before it is used; [Policy.Check] compares.
package attest
