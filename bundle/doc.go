// Package bundle reads and writes replay bundles: one file that holds a
// recorded run and a manifest that says what everything in it is. [Create]
// writes one, [Open] reads one, also where others made it.
//
// A bundle is an ordinary tar in ordinary zstd, so that tar --zstd -xf opens
// it. The zstd is cut into independent frames with a seek table behind them,
// so that one file of a large bundle is read without the rest. The format is
// described in docs/bundle.md.
//
// Reading is made for hostile input: what a [Reader] hands out has a safe
// path, is within the [Limits], and was compared with its digest.
package bundle
