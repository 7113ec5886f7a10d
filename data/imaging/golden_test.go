package imaging

import (
	"bytes"
	"image"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/data/imaging/turbojpeg"
	"iddpm/internal/golden"
)

// TestGoldenImages compares preprocessed images with the reference's: array
// NAME_at_SIZE of image/expected.npz is its output for image/NAME.*.
func TestGoldenImages(t *testing.T) {
	path := golden.Files(t, "image/expected.npz")[0]
	images := imagesByName(t, filepath.Dir(path))
	if len(images) == 0 {
		t.Skipf("%s has no images", filepath.Dir(path))
	}
	expected, err := npy.ReadNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(expected) == 0 {
		t.Fatalf("nothing to compare in %s", path)
	}
	key := regexp.MustCompile(`^(.*)_at_(\d+)$`)
	for name, want := range expected {
		m := key.FindStringSubmatch(name)
		if m == nil {
			t.Errorf("expected.npz: %q is not NAME_at_SIZE", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			if files := images[m[1]]; len(files) != 1 {
				t.Fatalf("%d images are named %s, not one: %q", len(files), m[1], files)
			}
			compareGolden(t, images[m[1]][0], m[2], want)
		})
	}
}

// imagesByName returns the paths of a folder's images, by their names
// without the extension.
func imagesByName(t *testing.T, dir string) map[string][]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string][]string{}
	for _, e := range entries {
		if file := e.Name(); HasExtension(file) {
			name := strings.TrimSuffix(file, filepath.Ext(file))
			paths[name] = append(paths[name], filepath.Join(dir, file))
		}
	}
	return paths
}

func compareGolden(t *testing.T, path, sizeText string, want *npy.Array) {
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if why := unlikeReference(file); why != "" {
		t.Skipf("%s: %s", filepath.Base(path), why)
	}
	size, err := strconv.Atoi(sizeText)
	if err != nil {
		t.Fatal(err)
	}
	d := Decoder{Background: NewBackground(nil), Turbo: turbojpeg.Available() == nil}
	p, err := d.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	tolerance, equal := 1, 0.99
	if near, share := pillowTolerance(filepath.Base(path)); !d.Turbo && near > tolerance {
		tolerance, equal = near, share // of Go's JPEG decoder
	}
	// The folder does not say which version of Pillow the reference used: the result of
	// either order is accepted.
	got := fitted(t, p, size, verticalFirst)
	if older := fitted(t, p, size, pillow12); !agree(got, want.Data, tolerance, equal) && agree(older, want.Data, tolerance, equal) {
		t.Log("agrees with Pillow before 13 only")
		got = older
	}
	comparePixels(t, got, want.Data, tolerance, equal)
}

// pillow12 is the order of Pillow 12: the horizontal pass comes first except in images
// with an extreme aspect ratio. Earlier versions differ only in these.
func pillow12(p Image, _, h int) bool { return p.h > 100*p.w && p.h > h }

func fitted(t *testing.T, p Image, size int, order passOrder) []byte {
	t.Helper()
	got := make([]byte, size*size*3)
	if err := p.fitTo(got, size, size, centre(size), order); err != nil {
		t.Fatal(err)
	}
	return got
}

// unlikeReference returns why this program deliberately differs from the reference on
// an image; empty if it does not.
func unlikeReference(file []byte) string {
	const bitDepth, colourType = 24, 25
	if bytes.HasPrefix(file, []byte(pngSignature)) && len(file) > colourType && file[bitDepth] == 16 && file[colourType] == 0 {
		return "of 16-bit grey the reference clips all above 255; here the high bytes are taken"
	}
	img, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return "" // the comparison reports it
	}
	if see, ok := img.(interface{ Opaque() bool }); ok && !see.Opaque() {
		return "of a transparent image the reference drops the alpha channel; here it is laid over white"
	}
	return ""
}

func TestUnlikeReference(t *testing.T) {
	for name, want := range map[string]string{
		"rgba.png":              "alpha",
		"rgba.webp":             "alpha",
		"rgba_lossy.webp":       "alpha",
		"gray16.png":            "16-bit",
		"rgba_opaque.png":       "",
		"gray_alpha_opaque.png": "",
		"tall_gray.png":         "",
		"palette.png":           "",
		"palette.gif":           "",
		"cmyk.jpg":              "",
	} {
		file, err := os.ReadFile(filepath.Join("testdata", "pillow", name))
		if err != nil {
			t.Fatal(err)
		}
		if got := unlikeReference(file); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestImagesByName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[of] *")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"a[1].png", "a.png", "a.b.JPG", "b.jpg", "b.png", "expected.npz", "README"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := imagesByName(t, dir)
	want := map[string][]string{"a[1]": {"a[1].png"}, "a": {"a.png"}, "a.b": {"a.b.JPG"}, "b": {"b.jpg", "b.png"}}
	if len(got) != len(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for name, files := range want {
		for i, file := range files {
			files[i] = filepath.Join(dir, file)
		}
		if !slices.Equal(got[name], files) {
			t.Errorf("%s: %q, want %q", name, got[name], files)
		}
	}
}

// agree reports whether got is within tolerance grey levels of want everywhere
// and equal to it in at least the fraction equal of the values.
func agree(got, want []byte, tolerance int, equal float64) bool {
	share, worst := difference(got, want)
	return len(got) == len(want) && worst <= tolerance && share >= equal
}

// comparePixels fails unless got and want agree.
func comparePixels(t *testing.T, got, want []byte, tolerance int, equal float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	share, worst := difference(got, want)
	t.Logf("%.3f %% equal, largest difference %d", 100*share, worst)
	if !agree(got, want, tolerance, equal) {
		t.Errorf("%.3f %% of the values are equal, want %.1f %%; the largest difference is %d, want at most %d", 100*share, 100*equal, worst, tolerance)
	}
}

// difference returns the fraction of equal values (1 if there are none) and the
// largest difference.
func difference(got, want []byte) (share float64, worst int) {
	if len(want) == 0 {
		return 1, 0
	}
	same := 0
	for i := range min(len(got), len(want)) {
		d := int(got[i]) - int(want[i])
		worst = max(worst, d, -d)
		if d == 0 {
			same++
		}
	}
	return float64(same) / float64(len(want)), worst
}
