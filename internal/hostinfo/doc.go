// Package hostinfo reads what this machine says of itself now: how warm it is,
// whether it runs on battery, how much of it others use, when a person last
// touched it, and how much memory and disk are left.
//
// It owns the reading alone. What follows from a fact is decided by scheduler's
// rules. A fact is known or not, with the reason; nothing here fails as a whole.
// Linux tells by files under /sys and /proc; other systems tell nothing yet.
package hostinfo
