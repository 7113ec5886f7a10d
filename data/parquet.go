package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"iddpm/data/imaging"
	"iddpm/data/parquet"
)

// errNoImageColumn says that Parquet files are of something else.
var errNoImageColumn = errors.New("no column of images")

// pageCacheBytes bounds the decompressed pages that are kept. Reading in order needs one;
// in random order more save work only if they are most of the set.
const pageCacheBytes = 256 << 20

// checkedPageBytes bounds the pages that are decompressed to check images' headers.
const checkedPageBytes = 256 << 20

// parquetImages is a source of the image files in a column of Parquet files.
type parquetImages struct {
	ends   // of shards
	shards []*parquetShard
	names  []string // from the column of paths; nil if that does not name all
	cache  *parquet.Cache
	every  int // one page in this many is checked
}

// parquetShard is one of the files.
type parquetShard struct {
	name   string // relative to the set
	file   *os.File
	images *parquet.Column
	open   *parquet.File
	schema *parquetSchema
}

// openParquet opens files with one column of images, in the order of their rows. The
// column is the one that Hugging Face's metadata calls an image, or a struct with bytes,
// or bytes under the name of an image. where names the set in errors.
func openParquet(s shardSet, where string) (*collection, error) {
	p := &parquetImages{cache: parquet.NewCache(pageCacheBytes)}
	schema, err := p.openAll(s)
	if err == nil && p.count() == 0 {
		err = errors.New("it holds no images")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", where, err), p.Close())
	}
	c := &collection{source: p, title: s.title("Parquet", where), split: s.split != ""}
	p.readNames(schema)
	switch {
	case schema.label != nil:
		c.readOwn = func() (*ownLabels, error) { return p.labels(schema) }
	case p.names == nil: // places in files are no classes
		c.readOwn = func() (*ownLabels, error) {
			return nil, fmt.Errorf("no column of labels (of the type ClassLabel, or with the name %s)", strings.Join(labelColumns, ", "))
		}
	}
	return c, nil
}

// openAll opens the files, whose columns must agree.
func (p *parquetImages) openAll(s shardSet) (*parquetSchema, error) {
	var err error
	if p.shards, err = openFilesOf(s, openParquetShard); err != nil {
		return nil, err
	}
	schema := p.shards[0].schema
	var bytes int64
	for _, shard := range p.shards {
		if err := schema.same(shard.schema); err != nil {
			return nil, fmt.Errorf("%s: %w", shard.name, err)
		}
		p.add(shard.images.Rows())
		bytes += shard.images.Bytes()
	}
	p.every = 1 + int(bytes/checkedPageBytes)
	return schema, nil
}

func openParquetShard(path, name string) (*parquetShard, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(explained(err))
	}
	s := &parquetShard{name: name, file: f}
	if err := s.read(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// read reads the footer, and finds the columns and the pages of the images.
func (s *parquetShard) read() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if s.open, err = parquet.Open(s.file, info.Size()); err != nil {
		return fmt.Errorf("not a readable Parquet file: %w", err)
	}
	if s.schema, err = findColumns(s.open); err != nil {
		return err
	}
	s.images, err = s.open.Column(s.schema.image...)
	return err
}

// readNames reads the images' paths, if they are there and name each image once.
func (p *parquetImages) readNames(schema *parquetSchema) {
	if schema.path == nil {
		return
	}
	const longest = 1024 // bytes
	names, seen := make([]string, 0, p.count()), map[string]bool{}
	for _, shard := range p.shards {
		paths, err := shard.open.Column(schema.path...)
		if err != nil || paths.Rows() != shard.images.Rows() {
			return
		}
		err = paths.Each(func(_ int, v []byte) error {
			name := string(v)
			if len(v) == 0 || len(v) > longest || seen[name] {
				return errors.New("not a name")
			}
			seen[name] = true
			names = append(names, name)
			return nil
		})
		if err != nil {
			return
		}
	}
	p.names = names
}

// labels reads the column of labels.
func (p *parquetImages) labels(schema *parquetSchema) (*ownLabels, error) {
	own := &ownLabels{names: schema.classes, from: "column " + strings.Join(schema.label, ".")}
	var texts []string
	for _, shard := range p.shards {
		column, err := shard.open.Column(schema.label...)
		if err == nil && column.Rows() != shard.images.Rows() {
			err = fmt.Errorf("%d labels for %d images", column.Rows(), shard.images.Rows())
		}
		if err == nil {
			err = column.Each(func(i int, v []byte) error {
				if v == nil {
					return fmt.Errorf("row %d has no label", i)
				}
				if schema.text {
					texts = append(texts, string(v))
					return nil
				}
				n, err := parquet.Int64(v)
				if err == nil {
					err = checkLabel(n, own.names)
				}
				if err != nil {
					return fmt.Errorf("row %d: %w", i, err)
				}
				own.labels = append(own.labels, n)
				return nil
			})
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", shard.name, err)
		}
	}
	if schema.text {
		return textLabels(texts, own.from)
	}
	return own, nil
}

// name returns the image's path in the set's column of paths, or else its file and row.
func (p *parquetImages) name(i int) string {
	if p.names != nil {
		return p.names[i]
	}
	k, row := p.find(i)
	return fmt.Sprintf("%s/%08d", p.shards[k].name, row)
}

func (p *parquetImages) bytes(i int) ([]byte, error) {
	k, row := p.find(i)
	v, err := p.shards[k].images.Value(row, p.cache)
	if err == nil && v == nil {
		err = errors.New("the row has no bytes: if it has the path of an image, embed the images in the file")
	}
	return v, cause(err)
}

func (p *parquetImages) reader(i int) (io.ReadCloser, error) {
	v, err := p.bytes(i)
	return io.NopCloser(bytes.NewReader(v)), err
}

// check reads the header of an image in some of the pages, since that decompresses the page.
func (p *parquetImages) check(i int) error {
	k, row := p.find(i)
	if p.shards[k].images.PageOf(row)%p.every != 0 {
		return nil
	}
	v, err := p.bytes(i)
	if err != nil {
		return err
	}
	return imaging.CheckHeader(bytes.NewReader(v))
}

func (p *parquetImages) load(i int, d imaging.Decoder) (imaging.Image, error) {
	v, err := p.bytes(i)
	if err != nil {
		return imaging.Image{}, err
	}
	return d.Read(bytes.NewReader(v))
}

func (p *parquetImages) Close() error {
	var err error
	for _, shard := range p.shards {
		if shard != nil {
			err = errors.Join(err, shard.file.Close())
		}
	}
	return err
}

// parquetSchema says in which columns a file has images and labels.
type parquetSchema struct {
	image, path, label []string // paths of columns; path and label may be nil
	text               bool     // whether labels are texts
	classes            []string // names of the labels; nil: they are numbers, or texts
}

// Names under which images and labels are, where no metadata says so; the first that is
// there counts.
var (
	imageColumns = []string{"image", "img", "images", "jpg", "jpeg", "png", "webp", "picture", "image_bytes", "bytes"}
	labelColumns = []string{"label", "labels", "fine_label", "cls", "class", "class_id", "target"}
)

// findColumns finds the columns of images and labels.
func findColumns(f *parquet.File) (*parquetSchema, error) {
	features := huggingFaceFeatures(f)
	tops := topColumns(f)
	s := &parquetSchema{}
	for _, name := range preferred(tops, imageColumns, func(name string) bool { return features[name].Type == "Image" }) {
		for _, path := range [][]string{{name, "bytes"}, {name}} {
			if s.image == nil && f.Kind(path...) == parquet.Bytes {
				s.image = path
			}
		}
	}
	if s.image == nil {
		s.image = structOfBytes(f)
	}
	if s.image == nil {
		return nil, fmt.Errorf("%w: a struct with bytes, of Hugging Face's type Image, or bytes with the name %s; its columns are %q", errNoImageColumn, strings.Join(imageColumns, ", "), tops)
	}
	if path := []string{s.image[0], "path"}; len(s.image) == 2 && f.Kind(path...) == parquet.Bytes {
		s.path = path
	}
	for _, name := range preferred(tops, labelColumns, func(name string) bool { return features[name].Type == "ClassLabel" }) {
		if kind := f.Kind(name); s.label == nil && kind != parquet.Other {
			s.label, s.text, s.classes = []string{name}, kind == parquet.Bytes, features[name].Names
		}
	}
	if s.text {
		s.classes = nil
	}
	return s, nil
}

// preferred returns the columns that may be of a kind: those of the type first, and of
// these, as of the others, those whose name is listed first.
func preferred(tops, names []string, ofType func(string) bool) (all []string) {
	for _, name := range names {
		if slices.Contains(tops, name) && ofType(name) {
			all = append(all, name)
		}
	}
	for _, name := range tops {
		if ofType(name) {
			all = append(all, name)
		}
	}
	if len(all) > 0 {
		return all
	}
	for _, name := range names {
		if slices.Contains(tops, name) {
			all = append(all, name)
		}
	}
	return all
}

// structOfBytes returns the first struct with a member bytes, nil if there is none.
func structOfBytes(f *parquet.File) []string {
	for _, path := range f.Columns() {
		if len(path) == 2 && path[1] == "bytes" && f.Kind(path...) == parquet.Bytes {
			return path
		}
	}
	return nil
}

// topColumns returns the names of the columns and structs, in the schema's order.
func topColumns(f *parquet.File) (names []string) {
	seen := map[string]bool{}
	for _, path := range f.Columns() {
		if len(path) > 0 && !seen[path[0]] {
			seen[path[0]] = true
			names = append(names, path[0])
		}
	}
	return names
}

// feature is the type of a column, as Hugging Face's datasets stores it.
type feature struct {
	Type  string   `json:"_type"`
	Names []string `json:"names"`
}

// huggingFaceFeatures returns the types of the columns; empty if the file does not say.
func huggingFaceFeatures(f *parquet.File) map[string]feature {
	var metadata struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	if json.Unmarshal([]byte(f.Metadata("huggingface")), &metadata) != nil {
		return nil
	}
	features := map[string]feature{}
	for name, raw := range metadata.Info.Features {
		var one feature
		if json.Unmarshal(raw, &one) == nil { // a list of features is of no use
			features[name] = one
		}
	}
	return features
}

// same reports how the columns of a file differ from those of the files before.
func (s *parquetSchema) same(o *parquetSchema) error {
	switch {
	case !slices.Equal(s.image, o.image):
		return fmt.Errorf("its images are in column %s, those before in %s", strings.Join(o.image, "."), strings.Join(s.image, "."))
	case !slices.Equal(s.label, o.label) || s.text != o.text:
		return fmt.Errorf("its labels are in column %q, those before in %q", o.label, s.label)
	case !slices.Equal(s.classes, o.classes):
		return fmt.Errorf("its classes are %s, those before %s", firstNames(o.classes), firstNames(s.classes))
	}
	return nil
}
