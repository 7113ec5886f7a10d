//go:build race

package main

// raceDetector slows loading and the step down.
const raceDetector = true
