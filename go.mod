module iddpm

go 1.26.0

// github.com/wangkuiyi/gotorch stopped in 2020 at libtorch 1.6 and no registry
// serves it, so the project keeps the module itself, on libtorch 2.11.
replace github.com/wangkuiyi/gotorch => ./gotorch

require (
	github.com/google/renameio/v2 v2.0.2 // indirect
	github.com/wangkuiyi/gotorch v0.0.0
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/image v0.47.0
)
