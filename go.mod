module iddpm

go 1.26.0

// github.com/wangkuiyi/gotorch stopped in 2020 at libtorch 1.6 and no registry
// serves it, so the project keeps the module itself, on libtorch 2.11.
replace github.com/wangkuiyi/gotorch => ./gotorch

require (
	github.com/wangkuiyi/gotorch v0.0.0-00010101000000-000000000000
	go.uber.org/goleak v1.3.0
	golang.org/x/image v0.47.0
)

require (
	github.com/BurntSushi/toml v1.4.1-0.20240526193622-a339e1f7089c // indirect
	github.com/google/renameio/v2 v2.0.2 // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	honnef.co/go/tools v0.8.2 // indirect
)

tool honnef.co/go/tools/cmd/staticcheck
