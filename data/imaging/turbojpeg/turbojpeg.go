// Package turbojpeg decodes JPEG files with libjpeg-turbo if it is installed. It is
// several times as fast as image/jpeg, and its pixels are identical to those of
// Pillow, and so of the reference.
//
// The library is TurboJPEG, libturbojpeg.so.0 of libjpeg-turbo 2.0 or later,
// opened at run time. (libjpeg's own interface needs its header at build time,
// and comes in two binary forms.)
package turbojpeg

/*
#cgo CFLAGS: -O2
#cgo LDFLAGS: -ldl
#cgo noescape turbojpeg_header
#cgo nocallback turbojpeg_header
#cgo noescape turbojpeg_decode
#cgo nocallback turbojpeg_decode
#include <stdlib.h>
#include "binding.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"
)

// library is TurboJPEG's soname; its ABI version has not changed since 2010.
const library = "libturbojpeg.so.0"

// Available returns nil if libjpeg-turbo can be used, else the reason. The first call
// opens the library, once per process.
var Available = sync.OnceValue(func() error { return load(library) })

func load(library string) error {
	// The loader keeps its message per thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	name := C.CString(library)
	defer C.free(unsafe.Pointer(name))
	if message := C.turbojpeg_load(name); message != nil {
		return fmt.Errorf("libjpeg-turbo cannot be used: %s (Debian's and Fedora's packages: libturbojpeg0, turbojpeg)", C.GoString(message))
	}
	return nil
}

// Decoder decodes one file at a time. The garbage collector frees it and its C memory.
type Decoder struct{ handle unsafe.Pointer }

// NewDecoder returns a decoder, or Available's error.
func NewDecoder() (*Decoder, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	handle := C.turbojpeg_init()
	if handle == nil {
		return nil, errors.New("libjpeg-turbo failed to allocate a decoder")
	}
	d := &Decoder{handle}
	runtime.AddCleanup(d, func(handle unsafe.Pointer) { C.turbojpeg_destroy(handle) }, handle)
	return d, nil
}

// Header describes a file's image.
type Header struct {
	Width, Height int // in pixels, above 0
	Channels      int // that Decode writes: 1 grey, 3 RGB, 4 CMYK
}

// TurboJPEG's colour spaces, pixel formats and flags.
const (
	spaceGrey, spaceCMYK, spaceYCCK     = 2, 3, 4
	formatRGB, formatGrey, formatCMYK   = 0, 6, 11
	flagAccurateDCT, flagStopOnWarnings = 4096, 8192
)

// Header reads the header of a JPEG file.
func (d *Decoder) Header(file []byte) (Header, error) {
	if len(file) == 0 {
		return Header{}, errors.New("the file is empty")
	}
	defer runtime.KeepAlive(d)
	var w, h, subsampling, space C.int = 0, 0, -1, -1
	status := C.turbojpeg_header(d.handle, (*C.uchar)(&file[0]), C.ulong(len(file)), &w, &h, &subsampling, &space)
	// Version 2 reports an error, after it has set all other values, if a file's subsampling
	// has no name; it still decodes the file to RGB.
	if status != 0 && (subsampling >= 0 || space < 0) {
		return Header{}, d.error()
	}
	if w < 1 || h < 1 {
		return Header{}, fmt.Errorf("%d x %d pixels", w, h)
	}
	header := Header{Width: int(w), Height: int(h), Channels: 3}
	switch space {
	case spaceGrey:
		header.Channels = 1
	case spaceCMYK, spaceYCCK:
		header.Channels = 4
	}
	return header, nil
}

// Decode decodes a file whose header is h into pixels [h.Height, h.Width,
// h.Channels], with libjpeg's defaults: the accurate inverse DCT and fancy
// upsampling. CMYK is returned as stored; Adobe's programs, and so practically all
// files, store it inverted. Where libjpeg only warns, as for a truncated file, this
// is an error.
func (d *Decoder) Decode(pixels, file []byte, h Header) error {
	var format C.int
	switch h.Channels {
	case 1:
		format = formatGrey
	case 3:
		format = formatRGB
	case 4:
		format = formatCMYK
	default:
		return fmt.Errorf("images of %d channels are not decoded", h.Channels)
	}
	if n := h.Width * h.Height * h.Channels; n == 0 || len(pixels) < n || len(file) == 0 {
		return fmt.Errorf("%d bytes are too few for %d x %d pixels of %d channels", len(pixels), h.Width, h.Height, h.Channels)
	}
	defer runtime.KeepAlive(d)
	status := C.turbojpeg_decode(d.handle, (*C.uchar)(&file[0]), C.ulong(len(file)), (*C.uchar)(&pixels[0]),
		C.int(h.Width), C.int(h.Width*h.Channels), C.int(h.Height), format, flagAccurateDCT|flagStopOnWarnings)
	if status != 0 {
		return d.error()
	}
	return nil
}

// error returns the library's error message of the last call; the caller keeps d alive.
func (d *Decoder) error() error { return errors.New(C.GoString(C.turbojpeg_message(d.handle))) }
