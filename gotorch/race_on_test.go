//go:build race

package gotorch

const raceEnabled = true
