// Package cli defines the flags of the commands and reads their values: from the command line,
// from IDDPM_ variables and from the YAML file of --config. All three sources accept the same
// text. It knows neither what a command does nor how it logs.
package cli
