package data

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"iddpm/data/imaging"
)

// errNoMembers says that tar files hold no images.
var errNoMembers = errors.New("no images")

// reasonFurther is the reason for leaving out images beside the first of a sample.
const reasonFurther = "further images of webdataset samples"

// tarShard is a tar file whose members have been located. It is read at random.
type tarShard struct {
	name    string // relative to the set
	file    *os.File
	samples []tarSample
	left    leftOut
}

// tarSample is one image and, as in webdataset, the files of the same name up to the
// first dot.
type tarSample struct {
	image     string // member's name
	named     bool   // whether the image has a name within the sample, as in mask.png
	at        tarMember
	cls, json tarMember // files of labels; of size -1 if there are none
}

// tarMember is where the content of a member is.
type tarMember struct{ offset, size int64 }

var noMember = tarMember{size: -1}

// openTar opens the images in tar files, in the order of the files and of their members. A
// sample's label is its file .cls, or in its .json the member label, cls or class.
func openTar(s shardSet, where string) (*collection, error) {
	shards, err := openFilesOf(s, openTarShard)
	set := &tarImages{shards: shards}
	if err == nil {
		err = set.number()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", where, err), set.Close())
	}
	names := make([]string, set.count())
	for i := range names {
		names[i] = set.name(i)
	}
	c := &collection{source: &files{names: names, open: set.open, close: set.Close}, title: s.title("tar", where), split: s.split != ""}
	for _, shard := range shards {
		for _, l := range shard.left {
			c.leftOut.addAll(l)
		}
	}
	if set.labelled || set.repeats {
		c.readOwn = set.labels
	}
	return c, nil
}

func openTarShard(file, name string) (*tarShard, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, cause(explained(err))
	}
	s := &tarShard{name: name, file: f}
	if err := s.index(f); err != nil {
		return nil, errors.Join(fmt.Errorf("not a readable tar file, or cut short: %w", imaging.EndsEarly(err)), f.Close())
	}
	return s, nil
}

// index locates the members. It reads headers and skips contents.
func (s *tarShard) index(f io.ReadSeeker) error {
	t := tar.NewReader(f)
	var sample tarSample
	key := ""
	for {
		h, err := t.Next()
		if err == io.EOF {
			s.end(sample)
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || isSparse(h) {
			continue
		}
		at, err := f.Seek(0, io.SeekCurrent) // tar.Reader does not read ahead
		if err != nil {
			return err
		}
		name := cleanName(h.Name)
		k, extension := sampleKey(name)
		if k != key {
			s.end(sample)
			sample, key = tarSample{cls: noMember, json: noMember}, k
		}
		s.add(&sample, name, extension, tarMember{offset: at, size: h.Size})
	}
}

// isSparse reports whether a member's content is not in one piece.
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// sampleKey divides a name at the first dot of its last part, as webdataset does.
func sampleKey(name string) (key, extension string) {
	dir, base := path.Split(name)
	stem, extension, _ := strings.Cut(base, ".")
	return dir + stem, strings.ToLower(extension)
}

// add adds a member to the sample that it belongs to.
func (s *tarShard) add(sample *tarSample, name, extension string, at tarMember) {
	why := whyPath(name)
	format, image := whyFormat(name)
	switch {
	case extension == "cls" && why == "":
		sample.cls = at
	case extension == "json" && why == "":
		sample.json = at
	case !image:
	case why != "":
		s.left.add(why, name)
	case format != "":
		s.left.add(format, name)
	case sample.image == "":
		sample.image, sample.at, sample.named = name, at, strings.Contains(extension, ".")
	case strings.Contains(extension, ".") || !sample.named: // a mask.png; a png after a jpg
		s.left.add(reasonFurther, name)
	default: // a jpg after mask.png
		s.left.add(reasonFurther, sample.image)
		sample.image, sample.at, sample.named = name, at, false
	}
}

// end adds a sample that is complete.
func (s *tarShard) end(sample tarSample) {
	if sample.image != "" {
		s.samples = append(s.samples, sample)
	}
}

// tarImages are the images of tar files.
type tarImages struct {
	ends     // of shards
	shards   []*tarShard
	labelled bool // whether some sample has a file of its label
	repeats  bool // whether images of different files have the same name
}

// number numbers the images, and finds out how they can be named and labelled.
func (s *tarImages) number() error {
	seen := map[string]bool{}
	for _, shard := range s.shards {
		s.add(len(shard.samples))
		for _, sample := range shard.samples {
			s.repeats = s.repeats || seen[sample.image]
			seen[sample.image] = true
			s.labelled = s.labelled || sample.cls != noMember || sample.json != noMember
		}
	}
	if s.count() == 0 {
		return fmt.Errorf("%w (%s)", errNoMembers, imaging.Formats)
	}
	return nil
}

func (s *tarImages) sample(i int) (*tarShard, *tarSample) {
	k, i := s.find(i)
	return s.shards[k], &s.shards[k].samples[i]
}

// name returns the member's name, after that of its file if the set needs it.
func (s *tarImages) name(i int) string {
	shard, sample := s.sample(i)
	if s.repeats {
		return shard.name + "/" + sample.image
	}
	return sample.image
}

func (s *tarImages) open(i int) (io.ReadCloser, error) {
	shard, sample := s.sample(i)
	return io.NopCloser(io.NewSectionReader(shard.file, sample.at.offset, sample.at.size)), nil
}

func (s *tarImages) Close() error {
	var err error
	for _, shard := range s.shards {
		if shard != nil {
			err = errors.Join(err, shard.file.Close())
		}
	}
	return err
}

// labels reads the samples' files of labels.
func (s *tarImages) labels() (*ownLabels, error) {
	texts := make([]string, s.count())
	from := ".cls"
	for i := range texts {
		shard, sample := s.sample(i)
		var err error
		switch {
		case sample.cls != noMember:
			texts[i], err = shard.read(sample.cls)
		case sample.json != noMember:
			from = ".json"
			texts[i], err = shard.readJSON(sample.json)
		default:
			err = errors.New("the sample has neither a .cls nor a .json with its label")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name(i), err)
		}
	}
	return textLabels(texts, from)
}

func (s *tarShard) read(m tarMember) (string, error) {
	const longest = 1 << 16 // bytes: of a json with captions and the like
	if m.size > longest {
		return "", fmt.Errorf("a label of %d bytes", m.size)
	}
	b := make([]byte, m.size)
	if _, err := s.file.ReadAt(b, m.offset); err != nil {
		return "", cause(imaging.EndsEarly(err))
	}
	return strings.TrimSpace(string(b)), nil
}

// readJSON reads the label of an object: a number or a text.
func (s *tarShard) readJSON(m tarMember) (string, error) {
	text, err := s.read(m)
	if err != nil {
		return "", err
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &fields) != nil {
		return "", errors.New("its .json is not an object")
	}
	keys := []string{"label", "cls", "class"}
	for _, key := range keys {
		raw, ok := fields[key]
		if !ok {
			continue
		}
		var name string
		var n json.Number
		if json.Unmarshal(raw, &name) == nil && name != "" {
			return name, nil
		}
		if json.Unmarshal(raw, &n) == nil && n != "" {
			return n.String(), nil
		}
		return "", fmt.Errorf("its .json has a %s that is neither a number nor a text: %s", key, excerpt(raw))
	}
	return "", fmt.Errorf("its .json has no label: no member %s", strings.Join(keys, ", "))
}
