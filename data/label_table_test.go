package data

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// utf16 encodes text like Excel's "Unicode text".
func utf16LE(text string) string {
	var b strings.Builder
	b.WriteString("\xff\xfe")
	for _, r := range text {
		b.Write([]byte{byte(r), byte(r >> 8)})
	}
	return b.String()
}

// Tables as spreadsheets, editors and scripts write them: 0.png and 2.png are dogs, 1.png is a cat.
func TestLabelTables(t *testing.T) {
	flat := folder(t, map[string][]byte{"0.png": numbered(0), "1.png": numbered(1), "2.png": numbered(2)})
	for name, text := range map[string]string{
		"LF":                        "0.png,dog\n1.png,cat\n2.png,dog\n",
		"CRLF":                      "0.png,dog\r\n1.png,cat\r\n2.png,dog\r\n",
		"no newline at the end":     "0.png,dog\n1.png,cat\n2.png,dog",
		"mark":                      "\ufeff0.png,dog\r\n1.png,cat\r\n2.png,dog\r\n",
		"mark and titles":           "\ufefffilename,label\r\n0.png,dog\r\n1.png,cat\r\n2.png,dog\r\n",
		"UTF-16":                    utf16LE("filename\tlabel\r\n0.png\tdog\r\n1.png\tcat\r\n2.png\tdog\r\n"),
		"semicolons":                "filename;label\r\n0.png;dog\r\n1.png;cat\r\n2.png;dog\r\n",
		"sep=":                      "sep=;\r\n0.png;dog\r\n1.png;cat\r\n2.png;dog\r\n",
		"tabs":                      "0.png\tdog\n1.png\tcat\n2.png\tdog\n",
		"bars":                      "0.png|dog\n1.png|cat\n2.png|dog\n",
		"quotes":                    "\"filename\",\"label\"\r\n\"0.png\",\"dog\"\r\n\"1.png\",\"cat\"\r\n\"2.png\",\"dog\"\r\n",
		"spaces":                    "0.png , dog \n 1.png,cat\u00a0\n2.png,dog\t\n",
		"blank and empty lines":     "0.png,dog\r\n\r\n1.png,cat\r\n , \r\n,,,\r\n2.png,dog\r\n",
		"empty columns":             "0.png,dog,,\n1.png,cat,,\n2.png,dog,,\n",
		"a remark":                  "# by hand, v1.2\n0.png,dog\n1.png,cat\n2.png,dog\n",
		"titles in another order":   "label,filename\ndog,0.png\ncat,1.png\ndog,2.png\n",
		"pandas, with its index":    ",filename,label\n0,0.png,dog\n1,1.png,cat\n2,2.png,dog\n",
		"three columns with titles": "image,split,Class\n0.png,train,dog\n1.png,train,cat\n2.png,test,dog\n",
		"unknown titles":            "fichier,espece\n0.png,dog\n1.png,cat\n2.png,dog\n",
		"./":                        "./0.png,dog\n./1.png,cat\n./2.png,dog\n",
		"folders of Windows":        "C:\\photos\\0.png,dog\nC:\\photos\\1.png,cat\nC:\\photos\\2.png,dog\n",
		"absolute":                  "/home/me/flat/0.png,dog\n/home/me/flat/1.png,cat\n/home/me/flat/2.png,dog\n",
		"no extension":              "0,dog\n1,cat\n2,dog\n",
		"extension in capitals":     "0.PNG,dog\n1.PNG,cat\n2.PNG,dog\n",
		"an image twice, agreeing":  "0.png,dog\n./0.png,dog\n1.png,cat\n2.png,dog\n",
		"images that are not there": "0.png,dog\n1.png,cat\n2.png,dog\n3.png,bird\n",
	} {
		t.Run(name, func(t *testing.T) {
			ds := open(t, flat, Options{ClassCond: true, Labels: labelTableFile(t, text)})
			if !slices.Equal(ds.ClassNames(), []string{"cat", "dog"}) || !slices.Equal(labels(ds), []int64{1, 0, 1}) {
				t.Errorf("%v of %v", labels(ds), ds.ClassNames())
			}
		})
	}
}

func labelTableFile(t testing.TB, text string) string {
	t.Helper()
	return filepath.Join(folder(t, map[string][]byte{"labels.csv": []byte(text)}), "labels.csv")
}

func TestLabelTablesInFolders(t *testing.T) {
	images := map[string][]byte{"a/0.png": numbered(0), "b/0.png": numbered(1), "b/e\u0301.png": numbered(2)}
	for name, text := range map[string]string{
		"paths":           "a/0.png,x\nb/0.png,y\nb/\u00e9.png,z\n", // composed accent, as on Windows
		"Windows' paths":  "a\\0.png,x\nb\\0.png,y\nb\\e\u0301.png,z\n",
		"longer paths":    "set/a/0.png,x\nset/b/0.png,y\nset/b/\u00e9.png,z\n",
		"no extensions":   "a/0,x\nb/0,y\nb/\u00e9,z\n",
		"name of its own": "a/0.png,x\nb/0.png,y\n\u00e9.png,z\n",
	} {
		for kind, path := range map[string]string{"folder": folder(t, images), "zip": zipped(t, images)} {
			ds := open(t, path, Options{ClassCond: true, Labels: labelTableFile(t, text)})
			if !slices.Equal(labels(ds), []int64{0, 1, 2}) {
				t.Errorf("%s/%s: %v", name, kind, labels(ds))
			}
		}
	}
	_, err := Open(folder(t, images), Options{ClassCond: true, Labels: labelTableFile(t, "0.png,x\n\u00e9.png,z\n")})
	if err == nil || !strings.Contains(err.Error(), "line 1: 0.png may be a/0.png or b/0.png: write names with their folders") {
		t.Errorf("a row for two images: %v", err)
	}
}

func TestLabelTablesRefuse(t *testing.T) {
	flat := folder(t, map[string][]byte{"0.png": numbered(0), "1.png": numbered(1)})
	for name, test := range map[string]struct{ text, want string }{
		"empty":          {"", "holds no lines NAME,CLASS"},
		"titles alone":   {"filename,label\r\n", "holds no lines NAME,CLASS"},
		"conflict":       {"0.png,dog\n1.png,cat\n0.png,cat\n", "lines 1 and 3 give 0.png two classes, dog and cat"},
		"missing":        {"0.png,dog\n", "no label for 1.png: 1 of 2 images have none"},
		"no class":       {"0.png,dog\n1.png, \n", "line 2 is not NAME,CLASS"},
		"three columns":  {"0.png,train,dog\n1.png,train,cat\n", "line 1 has 3 columns: name them in a first line"},
		"no class title": {"image,split,kind\n0.png,train,dog\n", "is called label or class"},
		"one column":     {"0.png\n1.png\n", "line 1 is not NAME,CLASS"},
		"Windows-1252":   {"0.png,caf\xe9\n1.png,cat\n", "line 1: byte 0xe9 is neither UTF-8 nor UTF-16"},
		"xlsx":           {"PK\x03\x04\x14", "is a spreadsheet or an archive, not text"},
	} {
		ds, err := Open(flat, Options{ClassCond: true, Labels: labelTableFile(t, test.text)})
		if err == nil {
			ds.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzLabelTable(f *testing.F) {
	for _, seed := range []string{"filename,label\n0.png,dog\n", "sep=;\n0.png;dog", "0.png\tdog\n", "\xff\xfe0\x00,\x00a\x00", "#\n\"0.png\",\"a\"\"b\"", "C:\\0.png,x\n0.png,y"} {
		f.Add(seed)
	}
	dir := folder(f, map[string][]byte{"0.png": numbered(0), "a/0.png": numbered(1)})
	c, err := openFolder(dir, "")
	if err != nil {
		f.Fatal(err)
	}
	file := filepath.Join(dir, "labels.csv")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		of, err := c.byTable(file)
		if err == nil && (len(of) != 2 || of[0] == "" || of[1] == "") {
			t.Errorf("classes %q", of)
		}
	})
}
