package data

import (
	"path"
	"slices"
	"strings"

	"iddpm/data/imaging"
)

// LeftOut counts the images that Open excluded from a set for one reason.
type LeftOut struct {
	Reason string // one of the Reason constants, or a format followed by " is not supported"
	Images int
	First  string // name of the first of them
}

// Why images are excluded. They are not data but files that programs keep next to images.
const (
	ReasonHidden = "hidden files and folders"                            // .ipynb_checkpoints, .thumbnails, .Trash-1000
	ReasonSystem = "files of the system (@eaDir, __MACOSX, ._NAME, ...)" // thumbnails, metadata, recycle bins
	ReasonRun    = "run folders (config.json beside checkpoints/)"       // sample grids of iddpm
	ReasonShards = "image files beside Parquet or tar files with more images"
	unsupported  = " is not supported: convert them, or leave them behind" // after the format
)

// leftOut collects exclusions by reason, in order of appearance.
type leftOut []LeftOut

func (l *leftOut) add(reason, name string) { l.addAll(LeftOut{Reason: reason, Images: 1, First: name}) }

// addAll adds the exclusions for one reason.
func (l *leftOut) addAll(o LeftOut) {
	i := slices.IndexFunc(*l, func(r LeftOut) bool { return r.Reason == o.Reason })
	if i < 0 {
		*l = append(*l, o)
		return
	}
	(*l)[i].Images += o.Images
}

// String lists the exclusions, for the error of a set without images.
func (l leftOut) String() string {
	var parts []string
	for _, r := range l {
		parts = append(parts, r.First+" ("+r.Reason+")")
	}
	return strings.Join(parts, ", ")
}

// jpegExtensions are JPEG extensions that imaging does not list.
var jpegExtensions = []string{".jfif", ".jpe", ".pjpeg", ".pjp"}

// isImageFile reports whether a file has an image extension.
func isImageFile(name string) bool {
	return imaging.HasExtension(name) || slices.Contains(jpegExtensions, strings.ToLower(path.Ext(name)))
}

// unsupportedFormats are formats of images that cannot be decoded, by extension.
var unsupportedFormats = map[string]string{
	".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".avif": "AVIF", ".tif": "TIFF", ".tiff": "TIFF", ".jxl": "JPEG XL",
	".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".jpx": "JPEG 2000", ".psd": "PSD", ".svg": "SVG", ".ico": "ICO", ".tga": "TGA",
	".exr": "OpenEXR", ".hdr": "HDR", ".ppm": "PPM", ".pgm": "PGM", ".pbm": "PBM", ".pnm": "PNM",
	".dng": "camera raw", ".cr2": "camera raw", ".cr3": "camera raw", ".nef": "camera raw", ".arw": "camera raw", ".orf": "camera raw", ".rw2": "camera raw", ".raf": "camera raw",
}

// whyFormat returns why a file with an image extension cannot be in the set, or "" if
// it can. ok is false for files that are not images.
func whyFormat(name string) (reason string, ok bool) {
	if isImageFile(name) {
		return "", true
	}
	format, ok := unsupportedFormats[strings.ToLower(path.Ext(name))]
	if ok {
		reason = format + unsupported
	}
	return reason, ok
}

// systemNames are folders in which systems and network storages keep thumbnails,
// deleted files and metadata.
var systemNames = []string{"__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler", "system volume information"}

// whyName returns why a file or folder of this base name is excluded, or "".
func whyName(name string) string {
	switch {
	case strings.HasPrefix(name, "._"), slices.Contains(systemNames, strings.ToLower(name)):
		return ReasonSystem
	case strings.HasPrefix(name, ".") && name != "." && name != "..":
		return ReasonHidden
	}
	return ""
}

// whyPath returns why a slash-separated path within an archive is excluded, or "".
func whyPath(name string) string {
	for part := range strings.SplitSeq(name, "/") {
		if why := whyName(part); why != "" {
			return why
		}
	}
	return ""
}

// The content of every run folder; samplesFolder contains the images.
const (
	runConfig      = "config.json"
	runCheckpoints = "checkpoints"
	samplesFolder  = "samples"
)

// runFolders returns the run folders among an archive's names, each with a trailing
// slash.
func runFolders(names []string) (runs []string) {
	configs := map[string]bool{}
	for _, name := range names {
		if dir, file := path.Split(name); file == runConfig {
			configs[dir] = true
		}
	}
	if len(configs) == 0 {
		return nil
	}
	for _, name := range names {
		parts := strings.SplitAfter(name, "/")
		for i, part := range parts[:len(parts)-1] {
			if dir := strings.Join(parts[:i], ""); part == runCheckpoints+"/" && configs[dir] && !slices.Contains(runs, dir) {
				runs = append(runs, dir)
			}
		}
	}
	return runs
}

// inRun reports whether a path is in one of the run folders. If the whole set is a run
// folder, only its samples are.
func inRun(name string, runs []string) bool {
	return slices.ContainsFunc(runs, func(dir string) bool {
		if dir == "" {
			dir = samplesFolder + "/"
		}
		return strings.HasPrefix(name, dir)
	})
}
