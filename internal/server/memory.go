package server

// ballastBytes is memory that is held and never touched, so that it takes no place
// in the machine. Go collects garbage when the heap has doubled; with the few
// megabytes that are live here that is hundreds of times a second under load,
// and each Argon2id hash alone (19 MiB) would begin a collection. With the
// ballast at least as much again is allocated first.
// See docs/decisions/0010-ballast.md.
const ballastBytes = 16 << 20
