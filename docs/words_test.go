package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// words are phrases that the project does not use, each with the standard term
// (docs/glossary.md). A pattern ignores case. Every match contains key, in lower case,
// which makes the search fast.
var words = []struct{ key, pattern, term string }{
	{"picture", `picture`, "image"},
	{"the way ", `\b(on|in|of|along) the way (back|up|down)\b`, "backward pass; decoder, encoder"},
	{"way back", `\bway back\b`, "backward pass"},
	{"back from", `\bgo(es)? back from\b`, "backward pass of"},
	{"operator by operator", `\boperator by operator\b`, "eagerly"},
	{"gpu", `\bgiven to a GPU\b|\bwhat a GPU is given\b|\bGPU that computes nothing\b|\bdry(-run)? GPU\b`, "launched on a GPU; the stand-in GPU"},
	{"twin", `\btwins?\b`, "reference implementation"},
	{"record", `\brecordings?\b|\bre-?recorded\b|\b(be|is|are|was|has|once) recorded (as|again|anew|once|for)\b|\brecords? (it|them|the step|as)\b`, "capture, captured graph"},
	{"not to be had", `\bnot to be had\b`, "failed to allocate; not available"},
	{" bad", `\bgo(es)? bad\b|\bwent bad\b`, "is non-finite"},
	{"badness", `\bbadness\b`, "non-finite"},
	{"evenly", `\bpart(ed|s)? evenly\b`, "is divisible by"},
	{"heed", `\bheed(s|ed)?\b`, "use, handle"},
	{"at once", `\basks? at once\b`, "syncs every step"},
	{"last words", `\blast words\b`, "last error message"},
	{"hour", `\bwithin the hour\b|withinTheHour`, "within the timeout"},
	{"lossscale", `\blgLossScale\b|\blgOfLossScale\b`, "log2LossScale"},
	{"loss's factor", `\bloss's factor\b`, "loss scale"},
	{"average", `\bthe averaged weights\b|\b(an?|the) averages? of the weights\b`, "EMA weights"},
	{" again", `\bcompute(s|d)? (activations |them |it )?again\b`, "recompute"},
	{" do with", `\bmakes? do with\b`, "needs only"},
	{"judge", `\bjudge?ments?\b|\bjudges? samples\b`, "evaluation; evaluates samples"},
	{"algorithms", `\btr(y|ies|ied|ying) algorithms\b|\balgorithms out\b`, "cuDNN benchmark mode"},
	{"way around", `\bway around\b`, "residual (skip) connection"},
	{" on ", `\b(go|goes|going|went|gone) on (with|from)\b`, "continue, resume"},
	{"dr", `\bdr(aws?|awn|ew) (the )?(images|samples)\b`, "generate, sample"},
	{"enlarg", `\benlarge[sdr]?\b|\benlarging\b`, "upsample; super-resolution"},
	{"afresh", `\bafresh\b`, "again, new"},
	{"anew", `\banew\b`, "again, new"},
	{"torso", `\btorso\b`, "compute-dtype region (autocast)"},
	{"the log", `\blines? of the log\b`, "log line; log interval"},
	{"for what", `\btakes? .{1,30} for what\b`, "predicted x_0"},
	{"up-sampl", `\bup-sampl`, "upsample"},
	{"whole or not", `\bwhole or not at all\b`, "atomically"},
	{" hands ", `\bhands (out|over|it|them)\b`, "returns, passes, sends"},
	{"stands ", `\bstands (where|in (the )?place)\b`, "is at; replaces"},
	{"asks the network", `\basks the network\b`, "evaluates the network"},
	{"looks at", `\blooks at (the )?(images|samples)\b`, "computes Inception features of"},
	{"due", `\b(line|log) is due\b`, "log interval"},
	{`"because"`, `zap\.\w+\("because"`, `log field "reason"`},
	{`"cure"`, `zap\.\w+\("cure"`, `log field "hint"`},
}

// kept are names that users' commands, scripts and files rely on, and seeds of golden
// arrays.
var kept = regexp.MustCompile(`--(eval-|num-)?pictures?\b|eval[-_]pictures|num[-_]pictures|"pictures?( %d)?"|"pictures N"|json:"\w*pictures?\w*"|\(pictures, seed\)|\bpictures\.csv\b`)

// TestWords checks that code, comments, messages, help texts and documents use standard
// terms. Test data is exempt: its names are data.
func TestWords(t *testing.T) {
	list, err := exec.Command("git", "-C", root, "ls-files", "-co", "--exclude-standard",
		"*.go", "*.c", "*.cc", "*.cu", "*.h", "*.py", "*.sh", "*.md", "Makefile", "Dockerfile").Output()
	if err != nil {
		t.Skip("no git: ", err)
	}
	for path := range strings.FieldsSeq(string(list)) {
		if path == "docs/words_test.go" || strings.Contains("/"+path, "/testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			continue // removed from the working tree, but not committed
		}
		for _, problem := range forbidden(string(text)) {
			t.Errorf("%s:%s", path, problem)
		}
	}
}

// TestForbidden checks the search itself.
func TestForbidden(t *testing.T) {
	for text, want := range map[string]string{
		"an image, generated":             "",
		"a\nPictures of Twins\n":          `2: "Picture": write image; 2: "Twins": write reference implementation`,
		"--eval-pictures 16":              "",
		"--eval-pictures 16 pictures":     `1: "picture": write image`,
		"on the way back":                 `1: "on the way back": write backward pass; decoder, encoder; 1: "way back": write backward pass`,
		"going on with a run":             `1: "going on with": write continue, resume`,
		`zap.String("because", "no GPU")`: "1: \"zap.String(\\\"because\\\"\": write log field \"reason\"",
	} {
		if got := strings.Join(forbidden(text), "; "); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

var patterns = func() (compiled []*regexp.Regexp) {
	for _, w := range words {
		compiled = append(compiled, regexp.MustCompile(`(?i)`+w.pattern))
	}
	return compiled
}()

// forbidden returns the phrases to avoid in a text, with their lines and the standard
// terms.
func forbidden(text string) (problems []string) {
	lower := strings.ToLower(text)
	var candidates []int
	for k, w := range words {
		if strings.Contains(lower, w.key) {
			candidates = append(candidates, k)
		}
	}
	if candidates == nil {
		return nil
	}
	for i, line := range strings.Split(text, "\n") {
		low := strings.ToLower(line)
		for _, k := range candidates {
			if !strings.Contains(low, words[k].key) {
				continue
			}
			if found := patterns[k].FindString(kept.ReplaceAllString(line, "")); found != "" {
				problems = append(problems, fmt.Sprintf("%d: %q: write %s", i+1, found, words[k].term))
			}
		}
	}
	return problems
}
