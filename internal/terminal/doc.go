// Package terminal writes a command's output for people: log lines with a progress bar on
// standard error, tables, and text free of control characters.
package terminal
