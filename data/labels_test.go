package data

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// imagesOf makes one small image of each name.
func imagesOf(names ...string) map[string][]byte {
	files := map[string][]byte{}
	for _, name := range names {
		files[name] = numbered(7)
	}
	return files
}

// Which rule gives classes where nobody says, and what it warns of.
func TestRuleByItself(t *testing.T) {
	for what, test := range map[string]struct {
		files   map[string][]byte
		classes []string
		rule    string
		warning string // "": none
		err     string
	}{
		"prefixes":               {imagesOf("cat_0.png", "cat_1.png", "dog_0.png", "dog_1.png"), []string{"cat", "dog"}, "prefixes of file names", "", ""},
		"prefixes in shards":     {imagesOf("x/cat_0.png", "x/cat_1.png", "dog_0.png", "dog_1.png"), []string{"cat", "dog"}, "prefixes of file names", "", ""},
		"folders":                {imagesOf("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"), []string{"cat", "dog"}, "folders", "", ""},
		"both alike":             {imagesOf("n01/n01_0.png", "n01/n01_1.png", "n02/n02_0.png", "n02/n02_1.png"), []string{"n01", "n02"}, "prefixes of file names", "", ""},
		"one underscore":         {imagesOf("cat/0.png", "cat/my_cat.png", "dog/0.png", "dog/1.png"), []string{"cat", "dog"}, "folders", "1 of 4 file names have an underscore", ""},
		"a camera's names":       {imagesOf("cat/IMG_0.png", "cat/IMG_1.png", "dog/IMG_0.png", "dog/IMG_1.png"), []string{"cat", "dog"}, "folders", "would make other classes: IMG", ""},
		"numbers before _":       {imagesOf("cat/0_a.png", "cat/1_a.png", "dog/2_a.png", "dog/3_a.png"), []string{"cat", "dog"}, "folders", "would make other classes: 0, 1, 2, 3", ""},
		"two cameras":            {files: imagesOf("cat/IMG_0.png", "cat/DSC_1.png", "dog/IMG_2.png", "dog/DSC_3.png"), err: "make the 2 classes DSC, IMG, and folders the 2 classes cat, dog: choose by --labels prefix or --labels folder"},
		"train and test":         {imagesOf("train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "test/dog/1.png"), []string{"cat", "dog"}, "folders", "train and test are folders of one set", ""},
		"Kaggle's twice":         {imagesOf("training_set/training_set/cats/0.png", "training_set/training_set/dogs/0.png", "test_set/test_set/cats/1.png", "test_set/test_set/dogs/1.png"), []string{"cats", "dogs"}, "folders", "train and test are folders of one set", ""},
		"train and test alone":   {files: imagesOf("train/0.png", "test/0.png"), err: "the folders are splits, not classes"},
		"one class in splits":    {files: imagesOf("train/cat/0.png", "test/cat/0.png"), err: "all images are in folders of one class, cat"},
		"a stray":                {files: imagesOf("cat/0.png", "dog/0.png", "stray.png"), err: "stray.png is in no folder of its class"},
		"one class":              {imagesOf("IMG_0.png", "IMG_1.png", "IMG_2.png"), []string{"IMG"}, "prefixes of file names", "all images are of one class, IMG", ""},
		"a class an image":       {imagesOf("0_a.png", "1_a.png", "2_a.png"), []string{"0", "1", "2"}, "prefixes of file names", "nearly as many classes as images: 3 for 3", ""},
		"one name without":       {imagesOf("cat_0.png", "cat_1.png", "dog_0.png", "stray.png"), []string{"cat", "dog", "stray.png"}, "prefixes of file names", "1 of 4 file names have no underscore, such as stray.png", ""},
		"one underscore in many": {files: imagesOf("0.png", "1.png", "2.png", "my_photo.png"), err: "1 of 4 file names have an underscore"},
		"packed":                 {files: imagesOf("00000/img00000000.png", "00001/img00001000.png"), err: "its names are those that a packer gives"},
		"alike but for case":     {imagesOf("Cat_0.png", "Cat_1.png", "cat_0.png", "cat_1.png"), []string{"Cat", "cat"}, "prefixes of file names", `"Cat" and "cat" differ only in case`, ""},
		"alike but for space":    {imagesOf("cat/0.png", "cat/1.png", "cat /0.png", "cat /1.png"), []string{"cat", "cat "}, "folders", `"cat" and "cat " differ only in case, space`, ""},
		"alike but for accents":  {imagesOf("\u00e9/0.png", "\u00e9/1.png", "e\u0301/0.png", "e\u0301/1.png"), []string{"e\u0301", "\u00e9"}, "folders", "accents", ""},
	} {
		for kind, path := range map[string]string{"folder": folder(t, test.files), "zip": zipped(t, test.files)} {
			t.Run(what+"/"+kind, func(t *testing.T) {
				ds, err := Open(path, Options{ClassCond: true})
				if test.err != "" {
					if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), "--labels") {
						t.Errorf("%v, want %q", err, test.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer ds.Close()
				if !slices.Equal(ds.ClassNames(), test.classes) || ds.ClassRule() != test.rule {
					t.Errorf("classes %q by %s", ds.ClassNames(), ds.ClassRule())
				}
				if text := strings.Join(ds.ClassWarnings(), "\n"); !strings.Contains(text, test.warning) || test.warning == "" && text != "" {
					t.Errorf("warnings %q, want %q", text, test.warning)
				}
			})
		}
	}
}

// Labels that are numbers: dense ones are kept, and so are those that a network has room for.
func TestNumericLabels(t *testing.T) {
	flat := folder(t, imagesOf("0.png", "1.png", "2.png"))
	for what, test := range map[string]struct {
		table   string
		rows    int
		labels  []int64
		names   []string
		counts  []int
		warning string
	}{
		"dense":         {"0.png,2\n1.png,0\n2.png,1\n", 0, []int64{2, 0, 1}, []string{"0", "1", "2"}, []int{1, 1, 1}, "nearly as many"},
		"from 1":        {"0.png,1\n1.png,2\n2.png,3\n", 0, []int64{1, 2, 3}, []string{"0", "1", "2", "3"}, []int{0, 1, 1, 1}, "1 of 4 classes have no image: 0"},
		"leading zeros": {"0.png,000\n1.png,001\n2.png,001\n", 0, []int64{0, 1, 1}, []string{"0", "1"}, []int{1, 2}, "nearly as many"},
		"sparse":        {"0.png,100001\n1.png,100003\n2.png,100002\n", 0, []int64{0, 2, 1}, []string{"100001", "100002", "100003"}, []int{1, 1, 1}, "leave gaps: the classes are numbered 0 to 2"},
		"numeric order": {"0.png,900\n1.png,1000\n2.png,900\n", 0, []int64{0, 1, 0}, []string{"900", "1000"}, []int{2, 1}, "leave gaps"},
		"with room":     {"0.png,7\n1.png,7\n2.png,9\n", 10, []int64{7, 7, 9}, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, []int{0, 0, 0, 0, 0, 0, 0, 2, 0, 1}, "8 of 10 classes have no image"},
		"beyond room":   {"0.png,70\n1.png,70\n2.png,90\n", 10, []int64{0, 0, 1}, []string{"70", "90"}, []int{2, 1}, "leave gaps"},
	} {
		ds := open(t, flat, Options{ClassCond: true, Labels: labelTableFile(t, test.table), NumClasses: test.rows})
		if !slices.Equal(labels(ds), test.labels) || !slices.Equal(ds.ClassNames(), test.names) || !slices.Equal(ds.ClassCounts(), test.counts) {
			t.Errorf("%s: labels %v of %v, counts %v", what, labels(ds), ds.ClassNames(), ds.ClassCounts())
		}
		if text := strings.Join(ds.ClassWarnings(), "\n"); !strings.Contains(text, test.warning) {
			t.Errorf("%s: warnings %q, want %q", what, text, test.warning)
		}
	}
	if _, err := Open(flat, Options{ClassCond: true, Labels: labelTableFile(t, "0.png,-1\n1.png,0\n2.png,1\n")}); err == nil || !strings.Contains(err.Error(), "class -1 is negative") {
		t.Errorf("negative: %v", err)
	}
}

// A network that has learnt classes numbers them for every set, whatever rule would now be chosen.
func TestKnownClasses(t *testing.T) {
	underscores := folder(t, imagesOf("cat/IMG_0.png", "cat/IMG_1.png", "dog/IMG_0.png", "dog/IMG_1.png"))
	some := folder(t, imagesOf("dog/0.png", "bird/0.png"))
	for what, test := range map[string]struct {
		path  string
		how   string
		known []string
		want  []int64
	}{
		"some of them":          {some, "", []string{"ape", "bird", "cat", "dog"}, []int64{1, 3}},
		"by the rule":           {some, "folder", []string{"dog", "bird"}, []int64{1, 0}},
		"by an older rule":      {underscores, "", []string{"IMG"}, []int64{0, 0, 0, 0}},
		"by the present rule":   {underscores, "", []string{"cat", "dog"}, []int64{0, 0, 1, 1}},
		"numbers with gaps":     {folder(t, imagesOf("0.png", "1.png")), labelTableFile(t, "0.png,2\n1.png,900\n"), []string{"0", "1", "2", "900"}, []int64{2, 3}},
		"older sparse numbers ": {folder(t, imagesOf("0.png", "1.png")), labelTableFile(t, "0.png,2\n1.png,9\n"), []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, []int64{2, 9}},
	} {
		ds := open(t, test.path, Options{ClassCond: true, Labels: test.how, KnownClasses: test.known})
		if !slices.Equal(labels(ds), test.want) || !slices.Equal(ds.ClassNames(), test.known) {
			t.Errorf("%s: %v of %v", what, labels(ds), ds.ClassNames())
		}
	}
	_, err := Open(some, Options{ClassCond: true, KnownClasses: []string{"cat", "dog"}})
	if e := (*UnknownClassError)(nil); !errors.As(err, &e) || e.Class != "bird" || e.Image != "bird/0.png" {
		t.Errorf("a class that was not learnt: %v", err)
	}
}

// A dataset.json matters where classes are asked of it, and then says what is wrong.
func TestDatasetJSON(t *testing.T) {
	const good = `{"labels": [["00000/img00000000.png", 0], ["00000/img00000001.png", 1]]}`
	for what, test := range map[string]struct{ file, rule, err string }{
		"good":           {good, "dataset.json", ""},
		"mark":           {"\ufeff" + good, "dataset.json", ""},
		"UTF-16":         {utf16LE(good), "dataset.json", ""},
		"backslashes":    {strings.ReplaceAll(good, "/", `\\`), "dataset.json", ""},
		"./":             {strings.ReplaceAll(good, `"00000`, `"./00000`), "dataset.json", ""},
		"an extra label": {strings.Replace(good, "]]", `], ["00000/img00000099.png", 5]]`, 1), "dataset.json", ""},
		"an equal label": {strings.Replace(good, "]]", `], ["00000/img00000001.png", 1]]`, 1), "dataset.json", ""},
		"1.0":            {strings.ReplaceAll(strings.ReplaceAll(good, " 0]", " 0.0]"), " 1]", " 1.0]"), "dataset.json, floating-point numbers", ""},
		"one-hot":        {strings.ReplaceAll(strings.ReplaceAll(good, " 0]", " [1, 0]]"), " 1]", " [0, 1]]"), "dataset.json, one-hot vectors", ""},

		"one missing":       {`{"labels": [["00000/img00000000.png", 0]]}`, "", "00000/img00000001.png: 1 of 2 images have none"},
		"0.5":               {strings.ReplaceAll(good, " 1]", " 0.5]"), "", "the class of 00000/img00000001.png is the floating-point number 0.5, not a whole one"},
		"a vector":          {strings.ReplaceAll(good, " 1]", " [0.2, 0.8]]"), "", "is a vector of 2 numbers that is not one-hot: [0.2, 0.8]"},
		"a text":            {strings.ReplaceAll(good, " 1]", ` "cat"]`), "", `is a text, not a whole number: "cat"`},
		"null for a class":  {strings.ReplaceAll(good, " 1]", ` null]`), "", "is null, not a number"},
		"negative":          {strings.ReplaceAll(good, " 1]", ` -1]`), "", "class -1 is negative"},
		"two classes":       {strings.Replace(good, "]]", `], ["00000/img00000001.png", 0]]`, 1), "", "is of two classes, 1 and 0"},
		"null":              {`{"labels": null}`, "", "says that the images have no classes"},
		"cut short":         {good[:40], "", "is not valid JSON in line 1"},
		"a trailing comma":  {strings.Replace(good, "]]", "],]", 1), "", "is not valid JSON in line 1"},
		"empty":             {"", "", "is not valid JSON"},
		"a list":            {`[{"file": "a.png", "label": 1}]`, "", "dataset.json is another program's: it holds a list"},
		"an object":         {`{"name": "mine", "labels": {"cat": 0}}`, "", "dataset.json is another program's: its labels are an object"},
		"a list of names":   {`{"name": "mine", "labels": ["cat", "dog"]}`, "", "dataset.json is another program's: its first label is a text"},
		"no labels":         {`{"name": "mine"}`, "", "dataset.json is another program's: it has no labels"},
		"a number of names": {`{"labels": [], "class_names": 3}`, "", "its class_names are a number"},
	} {
		for _, dir := range []string{"", "my/"} {
			files := map[string][]byte{dir + "00000/img00000000.png": numbered(0), dir + "00000/img00000001.png": numbered(1), dir + "dataset.json": []byte(test.file)}
			for kind, path := range map[string]string{"folder": folder(t, files), "zip": zipped(t, files)} {
				t.Run(what+"/"+dir+kind, func(t *testing.T) {
					open(t, path, Options{})
					table := labelTableFile(t, "img00000000,dog\nimg00000001,cat\n")
					if got := labels(open(t, path, Options{ClassCond: true, Labels: table})); !slices.Equal(got, []int64{1, 0}) {
						t.Errorf("by a table: %v", got)
					}
					ds, err := Open(path, Options{ClassCond: true})
					if test.err != "" {
						if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "Go ") || !strings.Contains(err.Error(), "--labels") {
							t.Errorf("%v, want %q", err, test.err)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					defer ds.Close()
					if !slices.Equal(labels(ds), []int64{0, 1}) || ds.ClassRule() != test.rule {
						t.Errorf("labels %v by %s", labels(ds), ds.ClassRule())
					}
				})
			}
		}
	}
}

// A dataset.json of a part is not used for all, nor forgotten; another program's does no harm.
func TestDatasetJSONElsewhere(t *testing.T) {
	files := imagesOf("00000/img00000000.png", "cat/0.png", "dog/0.png")
	files["dog/dataset.json"] = []byte(`{"labels": [["0.png", 0]]}`)
	for kind, path := range map[string]string{"folder": folder(t, files), "zip": zipped(t, files)} {
		_, err := Open(path, Options{ClassCond: true})
		if err == nil || !strings.Contains(err.Error(), "dog/dataset.json: labels the images in dog, and 00000/img00000000.png lies elsewhere") {
			t.Errorf("%s: %v", kind, err)
		}
		open(t, path, Options{ClassCond: true, Labels: "folder"})
	}
	files = imagesOf("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
	files["dataset.json"] = []byte(`{"name": "mine"}`)
	ds := open(t, folder(t, files), Options{ClassCond: true})
	if ds.ClassRule() != "folders" || len(ds.ClassWarnings()) != 1 || !strings.Contains(ds.ClassWarnings()[0], "dataset.json is another program's: it has no labels") {
		t.Errorf("by %s, warnings %q", ds.ClassRule(), ds.ClassWarnings())
	}
	deep := map[string][]byte{"a/b/00000/img00000000.png": numbered(0), "a/b/dataset.json": []byte(`{"labels": [["00000/img00000000.png", 1]]}`)}
	if got := labels(open(t, folder(t, deep), Options{ClassCond: true})); !slices.Equal(got, []int64{1}) {
		t.Errorf("two levels down: %v", got)
	}
	if _, err := Open(filepath.Join(folder(t, files), "cat"), Options{ClassCond: true, Labels: "source"}); err == nil || !strings.Contains(err.Error(), "brings no labels") {
		t.Errorf("none: %v", err)
	}
}
