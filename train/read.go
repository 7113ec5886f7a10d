package train

import "fmt"

// ReadConfig returns the configuration of a run folder, without opening its
// checkpoints.
func ReadConfig(dir string) (Config, error) {
	c, err := readConfig(dir)
	if err != nil {
		return c, fmt.Errorf("%s is no run folder that can be read: %w", dir, err)
	}
	return c, nil
}
