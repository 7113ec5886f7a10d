package main

import "github.com/wangkuiyi/gotorch"

// configure changes libtorch's process-wide settings. Nothing else in the program does, but for
// the threads.Adapter.
func configure(change func(*gotorch.Settings)) {
	settings := gotorch.CurrentSettings()
	change(&settings)
	gotorch.Configure(settings)
}
