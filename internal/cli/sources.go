package cli

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/wangkuiyi/gotorch/regularfile"

	"iddpm/distributed"
	"iddpm/internal/textfile"
)

// Environment looks up a variable, as os.LookupEnv does.
type Environment func(name string) (string, bool)

// AddSources prepends the values of the --config file and of the environment to the flags
// of a command line: the last value of a flag counts. root tells keys of other commands
// from misspelled ones.
func (l *Line) AddSources(root Syntax, env Environment) error {
	if l.Help || len(l.Command) == 0 {
		return nil
	}
	own := root.Of(l.Command)
	fromEnv, err := readEnvironment(own, env)
	if err != nil {
		return err
	}
	l.Flags = append(fromEnv, l.Flags...)
	if _, ok := own.Flags["config"]; !ok || l.Last("config") == "" {
		return nil
	}
	fromFile, err := ReadConfigFile(l.Last("config"), own, root)
	l.Flags = append(fromFile, l.Flags...)
	return err
}

// readEnvironment returns the flags that variables set, such as IDDPM_NUM_CHANNELS for
// --num-channels.
func readEnvironment(s Syntax, env Environment) ([]FlagValue, error) {
	var values []FlagValue
	for _, name := range slices.Sorted(maps.Keys(s.Flags)) {
		f := s.Flags[name]
		if f.Name != name || f.positional {
			continue
		}
		variable := variableOf(name)
		text, _ := env(variable)
		if text == "" && f.variable != "" {
			variable = f.variable
			text, _ = env(variable)
		}
		if text == "" {
			continue
		}
		v, err := f.value(variable, text)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// variablePrefix begins the names of all variables that are flags.
const variablePrefix = "IDDPM_"

// variableOf returns the variable of a flag.
func variableOf(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// serviceVariable matches what Kubernetes sets in every pod for a service called iddpm.
var serviceVariable = regexp.MustCompile(`_(SERVICE_HOST|PORT|(SERVICE_)?PORT_.*)$`)

// UnknownVariables returns a message per IDDPM_ variable that sets no flag of any
// command, with the nearest name.
func UnknownVariables(root Syntax, environ []string) (messages []string) {
	known := map[string]bool{strings.TrimPrefix(distributed.MasterSocket, variablePrefix): true}
	for _, f := range root.allFlags() {
		if !f.positional {
			known[strings.TrimPrefix(variableOf(f.Name), variablePrefix)] = true
		}
	}
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		variable, value, _ := strings.Cut(entry, "=")
		name, ours := strings.CutPrefix(variable, variablePrefix)
		if !ours || value == "" || known[name] || serviceVariable.MatchString(variable) {
			continue
		}
		messages = append(messages, fmt.Sprintf("unknown environment variable %s%s", variable, Suggest(name, variablePrefix, known)))
	}
	return messages
}

// ReadConfigFile returns the flags that a YAML file sets. Keys are names of flags, with
// dashes or underscores. Sections, as in a run's config.json, are flattened.
func ReadConfigFile(path string, own, root Syntax) ([]FlagValue, error) {
	file, err := regularfile.Read(path)
	if err != nil {
		return nil, Errorf("--config: %w", err)
	}
	text, err := textfile.Decode(file)
	if err != nil {
		return nil, Errorf("--config %s: %w", path, err)
	}
	var entries map[string]any
	if err := yaml.Unmarshal([]byte(text), &entries); err != nil {
		return nil, Errorf("--config %s: %s", path, strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	f := configFile{path: path, own: own, all: root.allFlags()}
	return f.values, f.add(entries)
}

type configFile struct {
	path   string
	own    Syntax          // of the command that reads the file
	all    map[string]Flag // of all commands
	values []FlagValue
}

func (f *configFile) add(entries map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if section, ok := entries[key].(map[string]any); ok {
			if err := f.add(section); err != nil {
				return err
			}
			continue
		}
		if err := f.addEntry(key, entries[key]); err != nil {
			return err
		}
	}
	return nil
}

func (f *configFile) addEntry(key string, entry any) error {
	name := strings.ReplaceAll(key, "_", "-")
	if entry == nil || name == "in-channels" { // a field of config.json that is always 3 (RGB)
		return nil
	}
	known, ok := f.all[name]
	if !ok || known.positional {
		return Errorf("--config %s: unknown key %s%s (its keys are names of flags)", f.path, key, Suggest(name, "", f.all))
	}
	if _, ok := f.own.Flags[name]; !ok {
		return nil // another command's
	}
	text, err := scalar(entry)
	if err != nil {
		return Errorf("--config %s: %s: %w", f.path, key, err)
	}
	v, err := known.value(fmt.Sprintf("--config %s: %s", f.path, key), text)
	f.values = append(f.values, v)
	return err
}

// scalar returns a YAML value as command line text.
func scalar(entry any) (string, error) {
	switch v := entry.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64, uint64:
		return fmt.Sprint(v), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case []any:
		parts := make([]string, len(v))
		for i, part := range v {
			var err error
			if parts[i], err = scalar(part); err != nil {
				return "", err
			}
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("%v is neither a value nor a list of values", entry)
}

// Of returns the syntax of a subcommand, by its path.
func (s Syntax) Of(command []string) Syntax {
	for _, name := range command {
		s = s.Commands[name]
	}
	return s
}

// allFlags returns the flags of a command and of all its subcommands.
func (s Syntax) allFlags() map[string]Flag {
	all := maps.Clone(s.Flags)
	for _, sub := range s.Commands {
		maps.Copy(all, sub.allFlags())
	}
	return all
}
