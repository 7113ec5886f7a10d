package terminal

import (
	"bytes"
	"strings"
	"testing"
)

func TestScreenEnvironment(t *testing.T) {
	for _, test := range []struct {
		env            map[string]string
		terminal       bool
		moves, colours bool
	}{
		{nil, true, true, true},
		{nil, false, false, false},
		{map[string]string{"NO_COLOR": "1"}, true, true, false},
		{map[string]string{"NO_COLOR": ""}, true, true, true},
		{map[string]string{"TERM": "dumb"}, true, false, false},
		{map[string]string{"TERM": "xterm"}, true, true, true},
	} {
		var out bytes.Buffer
		s := &Screen{out: &out, terminal: test.terminal}
		s.applyEnvironment(func(name string) string { return test.env[name] })
		s.Logger(false).Info("hello")
		if coloured := strings.Contains(out.String(), "\x1b["); s.terminal != test.moves || coloured != test.colours {
			t.Errorf("%v: moves %t, colours %t: %q", test.env, s.terminal, coloured, out.String())
		}
	}
}
