// Package seal keeps keys and encrypts with them what can't be scrubbed. A
// bundle has a data key of its own, which only ever leaves this machine
// wrapped: by a key of the tenant, named by a reference such as local:default,
// or by an age recipient.
//
// [NewSealer] is for writing a bundle, [NewOpener] for reading one, [Keys] is
// the local key file, and [Salt] hands out the secret that scrubbed tokens are
// made with. No error, log line or String method of this package has a key in it.
package seal
