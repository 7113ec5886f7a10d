package pt

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pickle"
)

// zipOf makes a zip of names and contents.
func zipOf(t testing.TB, entries ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, err := z.CreateHeader(&zip.FileHeader{Name: e[0], Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archived makes a file of a pickle and of storages 0, 1, ...
func archived(t testing.TB, body string, storages ...[]byte) []byte {
	t.Helper()
	entries := [][2]string{{"archive/data.pkl", body}}
	for i, data := range storages {
		entries = append(entries, [2]string{fmt.Sprintf("archive/data/%d", i), string(data)})
	}
	return zipOf(t, entries...)
}

func pickledInt(v int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(v)))
}

func pickledInts(values ...int64) string {
	s := "("
	for _, v := range values {
		s += pickledInt(v)
	}
	return s + "t"
}

// pickledStorage is a float32 storage "0".
func pickledStorage(count int64) string {
	return "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + pickledInt(count) + "tQ"
}

func pickledTensor(count, offset int64, shape, strides string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(" + pickledStorage(count) + pickledInt(offset) + shape + strides + "\x89NtR"
}

const orderedDictClass = "ccollections\nOrderedDict\n"

// maxPushes is how many objects a pickle may make.
const maxPushes = 4 << 20

// hostilePickles are bodies between PROTO and STOP, each with a part of its error.
func hostilePickles() map[string][2]string {
	const huge = 1 << 62
	return map[string][2]string{
		"nothing":             {"", "not with one object"},
		"two objects":         {"NN", "not with one object"},
		"open mark":           {"N(", "not with one object"},
		"no mark":             {"t", "there is no mark"},
		"pop below mark":      {"N(\x85", "the stack is empty"},
		"empty stack":         {"\x87", "the stack is empty"},
		"append to int":       {"K\x01Na", "it appends to a int"},
		"append to nothing":   {"Na", "the stack is empty"},
		"item of list":        {"]NNs", "it sets an item of a list"},
		"odd items":           {"}(NNNu", "key without a value"},
		"list as key":         {"}]Ns", "a list as a dict's key"},
		"unknown opcode":      {"\xff", "opcode 0xff"},
		"instance":            {"ctorch\nSize\n)\x81", "opcode 0x81"},
		"protocol 9":          {"\x80\x09N", "protocol 9"},
		"memo":                {"h\x07", "the memo has no entry 7"},
		"memo of nothing":     {"q\x07", "the stack is empty"},
		"big int":             {"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01", "an integer of 9 bytes"},
		"huge int":            {"\x8b\xff\xff\xff\xff", "does not fit 64 bits"},
		"huge string":         {"X\xff\xff\xff\xff", "ends within a pickle"},
		"huger string":        {"\x8d\xff\xff\xff\xff\xff\xff\xff\xffx", "ends within a pickle"},
		"bad string":          {"X\x02\x00\x00\x00\xc3\x28", "not UTF-8"},
		"builtin":             {"c__builtin__\neval\n(X\x01\x00\x00\x001tR", "refers to __builtin__.eval"},
		"torch.load":          {"ctorch\nload\n)R", "refers to torch.load"},
		"bare storage class":  {"cFloatStorage\nFloatStorage\n", "refers to FloatStorage.FloatStorage"},
		"builtin by stack":    {"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93", "refers to os.system"},
		"global of ints":      {"K\x01K\x02\x93", "whose name is no string"},
		"endless name":        {"c" + strings.Repeat("x", 5000), "more than 1000 bytes"},
		"call a storage":      {"ctorch\nFloatStorage\n)R", "cannot be called"},
		"call an int":         {"K\x01)R", "not of a function"},
		"call with list":      {"ctorch\nSize\n]R", "not of a function"},
		"size of nothing":     {"ctorch\nSize\n)R", "not a tuple"},
		"tensor of nothing":   {"ctorch._utils\n_rebuild_tensor_v2\n)R", "0 arguments"},
		"tensor of text":      {"ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR", "not a tensor's"},
		"parameter of text":   {"ctorch._utils\n_rebuild_parameter\n(N\x89NtR", "not a parameter's"},
		"ordered pairs":       {orderedDictClass + "K\x01\x85R", "not a list of pairs"},
		"ordered key":         {orderedDictClass + "]](]NeaN\x86\x85R", "not a list of pairs"},
		"attributes of dict":  {"}Nb", "it sets attributes of a dict"},
		"persistent int":      {"K\x01Q", "not a tuple"},
		"persistent short":    {")Q", "0 parts"},
		"persistent module":   {"(X\x06\x00\x00\x00moduleNNNNtQ", "not a storage's"},
		"class as storage":    {"(X\x07\x00\x00\x00storagectorch\nSize\nX\x01\x00\x00\x000NK\x01tQ", "has the type torch.Size"},
		"bare storage":        {pickledStorage(1), "a bare storage"},
		"bare class":          {"ctorch\nSize\n", "it contains torch.Size itself"},
		"negative storage":    {pickledStorage(-1), "claims -1 elements"},
		"huge storage":        {pickledStorage(huge), "elements"},
		"storage twice":       {"(" + pickledStorage(1) + pickledStorage(2) + "t", "both 4 and 8 bytes"},
		"negative shape":      {pickledTensor(4, 0, pickledInts(-1), pickledInts(1)), "the shape [-1] is impossible"},
		"negative both":       {pickledTensor(4, 0, pickledInts(-2, -2), pickledInts(2, 1)), "is impossible"},
		"overflowing shape":   {pickledTensor(4, 0, pickledInts(1<<32, 1<<32), pickledInts(1, 1)), "is impossible"},
		"large shape":         {pickledTensor(4, 0, pickledInts(5), pickledInts(1)), "does not fit storage"},
		"negative stride":     {pickledTensor(4, 3, pickledInts(2), pickledInts(-1)), "does not fit storage"},
		"overflowing stride":  {pickledTensor(4, 0, pickledInts(3), pickledInts(huge)), "does not fit storage"},
		"negative offset":     {pickledTensor(4, -1, pickledInts(1), pickledInts(1)), "does not fit storage"},
		"large offset":        {pickledTensor(4, 4, pickledInts(1), pickledInts(1)), "does not fit storage"},
		"overflowing offset":  {pickledTensor(4, 1<<63-1, pickledInts(2), pickledInts(1)), "does not fit storage"},
		"missing strides":     {pickledTensor(4, 0, pickledInts(2, 2), pickledInts(1)), "2 dimensions and 1 strides"},
		"high rank":           {pickledTensor(4, 0, pickledInts(make([]int64, 65)...), pickledInts(make([]int64, 65)...)), "not a tensor's"},
		"expanded":            {pickledTensor(4, 0, pickledInts(1<<40), pickledInts(0)), "more than four times"},
		"wrong storage size":  {pickledTensor(5, 0, pickledInts(1), pickledInts(1)), "16 bytes, not 20"},
		"storage not there":   {strings.Replace(pickledTensor(4, 0, pickledInts(1), pickledInts(1)), "\x01\x00\x00\x000", "\x01\x00\x00\x009", 1), `no entry "archive/data/9"`},
		"list in itself":      {"]q\x00h\x00a", "a list contains itself"},
		"dict in itself":      {"}q\x00Nh\x00s", "a dict contains itself"},
		"tuple in itself":     {"]q\x00h\x00\x85a", "contains itself"},
		"deep":                {strings.Repeat("]", 1000) + strings.Repeat("a", 999), "nested more than 100 deep"},
		"deep tuples":         {"N" + strings.Repeat("\x85", 100_000), "nested more than 100 deep"},
		"deep by sharing":     {deepBySharing(), "nested more than 100 deep"},
		"billion laughs":      {"N" + strings.Repeat("q\x00h\x00\x86", 60), "more than 16777216 objects"},
		"many objects":        {"(" + strings.Repeat("]", maxPushes+1), "more than 4194304 objects"},
		"many memo entries":   {"N" + strings.Repeat("\x94", maxPushes+1), "more than 4194304 objects"},
		"many copies of list": {manyCopies(), "more than 4194304 objects"},
	}
}

// deepBySharing nests lists deeply by sharing: it has the lists [a, b, c], where a has
// depth 60, b ends in a, and c in b.
func deepBySharing() string {
	chain := strings.Repeat("\x85", 60)
	return "(N" + chain + "q\x00h\x00" + chain + "q\x01h\x01" + chain + "t"
}

// manyCopies makes an OrderedDict of one list of 1000 pairs again and again.
func manyCopies() string {
	pairs := "]("
	for i := range 1000 {
		pairs += "](M" + string([]byte{byte(i), byte(i >> 8)}) + "Ne"
	}
	return "(" + pairs + "e\x85q\x00" + strings.Repeat(orderedDictClass+"h\x00R", 10_000) + "t"
}

func TestHostilePickles(t *testing.T) {
	for name, c := range hostilePickles() {
		body, want := c[0], c[1]
		_, err := readBytes(archived(t, "\x80\x02"+body+".", make([]byte, 16)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %.300v, want %q", name, err, want)
		}
	}
}

func TestLongPickle(t *testing.T) {
	long := "\x80\x02(" + strings.Repeat("X\x00\x00\x10\x00"+strings.Repeat("x", 1<<20), 65) + "t."
	if _, err := readBytes(archived(t, long)); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a pickle of %d bytes: %v", len(long), err)
	}
	text := strings.Repeat("x", pickle.MaxLength)
	if err := Write(&bytes.Buffer{}, text); err == nil {
		t.Error("a pickle was written that cannot be read")
	}
}

func TestHostileZips(t *testing.T) {
	intact := archived(t, "\x80\x02N.")
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"no pickle", bytes.ReplaceAll(intact, []byte("data.pkl"), []byte("data.bin")), "no FOLDER/data.pkl"},
		{"no folder", bytes.ReplaceAll(intact, []byte("archive/"), []byte("archive_")), "no FOLDER/data.pkl"},
		{"text after", archived(t, "\x80\x02N.more"), "4 bytes follow the pickle"},
		{"big-endian", zipOf(t, [2]string{"a/data.pkl", "\x80\x02N."}, [2]string{"a/byteorder", "big"}), "big-endian"},
		{"no byte order", zipOf(t, [2]string{"a/data.pkl", "\x80\x02N."}, [2]string{"a/byteorder", "middle"}), `byte order is "middle"`},
		{"long byte order", zipOf(t, [2]string{"a/data.pkl", "\x80\x02N."}, [2]string{"a/byteorder", "biggest"}), "7 bytes, not 6"},
		{"empty pickle", archived(t, ""), "ends within a pickle"},
	} {
		if _, err := readBytes(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// legacyParts makes a file of the format before PyTorch 1.6.
func legacyParts(parts ...string) []byte {
	return []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + strings.Join(parts, ""))
}

func TestHostileLegacy(t *testing.T) {
	const version, machine = "\x80\x02M\xe9\x03.", "\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."
	object := "\x80\x02" + strings.Replace(pickledTensor(1, 0, pickledInts(1), pickledInts(1)), "tQ", "NtQ", 1) + "."
	const keys, storage = "\x80\x02]X\x01\x00\x00\x000a.", "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x3f"
	if v, err := readBytes(legacyParts(version, machine, object, keys, storage)); err != nil || float32s(t, v)[0] != 1 {
		t.Fatalf("the good file: %v, %v", v, err)
	}
	view := strings.Replace(object, "NtQ", "(X\x01\x00\x00\x00v"+pickledInt(1)+pickledInt(1)+"ttQ", 1)
	for _, c := range []struct {
		name  string
		parts []string
		want  string
	}{
		{"version", []string{"\x80\x02K\x07."}, "version 7"},
		{"big-endian", []string{version, "\x80\x02}X\x0d\x00\x00\x00little_endian\x89s."}, "big-endian"},
		{"no keys", []string{version, machine, object}, "truncated at byte"},
		{"keys no list", []string{version, machine, object, "\x80\x02N."}, "not a list"},
		{"unknown key", []string{version, machine, object, "\x80\x02]X\x01\x00\x00\x007a.", storage}, "unknown, or occurs twice"},
		{"key no string", []string{version, machine, object, "\x80\x02](NK\x01e.", storage}, "unknown, or occurs twice"},
		{"key twice", []string{version, machine, object, "\x80\x02](X\x01\x00\x00\x000X\x01\x00\x00\x000e.", storage, storage}, "occurs twice"},
		{"key missing", []string{version, machine, object, "\x80\x02].", storage}, `storage "0" is missing`},
		{"another count", []string{version, machine, object, keys, strings.Replace(storage, "\x01", "\x02", 1)}, "it has 2 elements, but 1 in the pickle"},
		{"negative count", []string{version, machine, object, keys, "\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"}, "it has -1 elements"},
		{"huge storage", []string{version, machine, strings.Replace(object, pickledInt(1)+"NtQ", pickledInt(1<<40)+"NtQ", 1), keys, storage}, "truncated at byte"},
		{"view outside", []string{version, machine, view, keys, storage}, "a view is outside"},
		{"storage out of place", []string{version, "\x80\x02" + pickledStorage(1) + "."}, "out of place"},
		{"unknown global", []string{version, machine, "\x80\x02cos\nsystem\n."}, "refers to os.system"},
	} {
		if _, err := readBytes(legacyParts(c.parts...)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// TestLegacyView reads a storage that is a view of another, as in PyTorch 0.x.
func TestLegacyView(t *testing.T) {
	object := "\x80\x02" + strings.Replace(pickledTensor(3, 0, pickledInts(2), pickledInts(1)), "tQ",
		"(X\x01\x00\x00\x00v"+pickledInt(1)+pickledInt(2)+"ttQ", 1) + "."
	data := "\x03\x00\x00\x00\x00\x00\x00\x00" + string(tensor(nil, 5, 6, 7).Data)
	v, err := readBytes(legacyParts("\x80\x02M\xe9\x03.", "\x80\x02}.", object, "\x80\x02]X\x01\x00\x00\x000a.", data))
	if err != nil {
		t.Fatal(err)
	}
	if got := float32s(t, v); got[0] != 6 || got[1] != 7 {
		t.Errorf("got %v, want [6 7]", got)
	}
}

// checkRead checks that Write can write what Read returns, and that Read can read that.
func checkRead(t *testing.T, data []byte) {
	v, err := readBytes(data)
	if err != nil {
		return
	}
	var b bytes.Buffer
	if err := Write(&b, v); err != nil {
		t.Fatalf("%v was read but cannot be written: %v", v, err)
	}
	if _, err := readBytes(b.Bytes()); err != nil {
		t.Fatalf("%v was written and cannot be read: %v", v, err)
	}
}

func addSeeds(f *testing.F, pattern string) {
	f.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds in %s: %v", pattern, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func FuzzRead(f *testing.F) {
	addSeeds(f, "*/[a-k]*.pt")
	addSeeds(f, "*/[m-z]*.pt")
	f.Add(written(f, checkpoint()))
	f.Fuzz(checkRead)
}

func FuzzLegacy(f *testing.F) {
	addSeeds(f, "*/legacy_*.pt")
	f.Fuzz(checkRead)
}

// FuzzPickle varies the pickle itself, behind an intact zip.
func FuzzPickle(f *testing.F) {
	for _, c := range hostilePickles() {
		if len(c[0]) < 10_000 {
			f.Add([]byte("\x80\x02" + c[0] + "."))
		}
	}
	for _, v := range []any{checkpoint(), objects()} {
		p := pickler{keys: map[slice]int{}}
		if err := p.whole(v); err != nil {
			f.Fatal(err)
		}
		f.Add(p.out.Bytes())
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		checkRead(t, archived(t, string(body), make([]byte, 16), make([]byte, 64)))
	})
}
