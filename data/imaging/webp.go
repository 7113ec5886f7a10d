package imaging

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/webp"
)

// Lossy WebP stores video-range YUV with halved colour planes. golang.org/x/image
// returns the planes as a type that means JPEG's full range, so the conversion is
// done here, as in libwebp: fancy upsampling, then its fixed-point matrix.

// fromWebP converts the planes of a lossy WebP image to RGB.
func fromWebP(m *Memory, img *image.YCbCr) Image {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	p := newImage(m, w, h, 3)
	rows := (h + 1) / 2
	u, v := make([]byte, w), make([]byte, w)
	for y := range h {
		near := (y / 2) * img.CStride
		far := min(max(neighbour(y), 0), rows-1) * img.CStride
		webpChroma(u, img.Cb[near:], img.Cb[far:])
		webpChroma(v, img.Cr[near:], img.Cr[far:])
		webpRow(p.row(y), img.Y[y*img.YStride:y*img.YStride+w], u, v)
	}
	return p
}

// webpChroma doubles a row of a colour plane; far is the plane's second nearest row.
func webpChroma(dst, near, far []byte) {
	for x := range dst {
		at := x / 2
		beside := at - 1 + 2*(x%2)
		n, f := int(near[at]), int(far[at])
		if beside < 0 || beside > (len(dst)-1)/2 {
			dst[x] = byte((3*n + f + 2) >> 2)
			continue
		}
		diagonal := (n + 3*int(near[beside]) + 3*f + int(far[beside]) + 8) >> 3
		dst[x] = byte((n + diagonal) >> 1)
	}
}

func webpRow(dst, luma, us, vs []byte) {
	us, vs = us[:len(luma)], vs[:len(luma)]
	for x, l := range luma {
		y, u, v := int32(l)*19077>>8, int32(us[x]), int32(vs[x])
		out := dst[3*x : 3*x+3 : 3*x+3]
		out[0] = byte(clamp((y + v*26149>>8 - 14234) >> 6))
		out[1] = byte(clamp((y - u*6419>>8 - v*13320>>8 + 8708) >> 6))
		out[2] = byte(clamp((y + u*33050>>8 - 17685) >> 6))
	}
}

// webpFrame is the first frame of a WebP file with an extended header.
type webpFrame struct {
	file   []byte          // the image as a file of its own
	at     image.Rectangle // where on the canvas
	canvas image.Point     // size
	alpha  bool            // whether the file says that it is not opaque
}

// firstWebP finds the first frame of an animation, or the still image of a file with an
// extended header. It returns nil if the file has no extended header.
//
// golang.org/x/image does not decode animations, and refuses files whose header and
// chunks disagree about alpha. As in libwebp, the header decides; a lossless still image
// has alpha if either says so.
func firstWebP(file []byte) (*webpFrame, error) {
	const animated, hasAlpha = 1 << 1, 1 << 4
	chunks := file[12:]
	header := chunk(chunks, "VP8X", binary.LittleEndian, 0, 0)
	if len(header) < 10 {
		return nil, nil
	}
	f := &webpFrame{alpha: header[0]&hasAlpha != 0, canvas: image.Pt(1+uint24(header[4:]), 1+uint24(header[7:]))}
	f.at.Max = f.canvas
	if header[0]&animated != 0 {
		frame := chunk(chunks, "ANMF", binary.LittleEndian, 0, 0)
		if len(frame) < 16 {
			return nil, io.ErrUnexpectedEOF
		}
		corner := image.Pt(2*uint24(frame), 2*uint24(frame[3:]))
		f.at = image.Rectangle{Min: corner, Max: corner.Add(image.Pt(1+uint24(frame[6:]), 1+uint24(frame[9:])))}
		if !f.at.In(image.Rectangle{Max: f.canvas}) {
			return nil, fmt.Errorf("a frame at %v is outside the canvas of %d x %d pixels", f.at, f.canvas.X, f.canvas.Y)
		}
		chunks = frame[16:]
	}
	f.file = simpleWebP(chunks, f.at.Size(), f.alpha)
	if f.file == nil {
		return nil, io.ErrUnexpectedEOF
	}
	if still := header[0]&animated == 0; still {
		f.alpha = f.alpha || losslessAlpha(chunks)
	}
	return f, nil
}

// simpleWebP returns a minimal file with the image among chunks, of the given size, or
// nil if there is none.
func simpleWebP(chunks []byte, size image.Point, alpha bool) []byte {
	name, body := "VP8L", chunk(chunks, "VP8L", binary.LittleEndian, 0, 0)
	var plane []byte
	if body == nil {
		name, body = "VP8 ", chunk(chunks, "VP8 ", binary.LittleEndian, 0, 0)
		plane = chunk(chunks, "ALPH", binary.LittleEndian, 0, 0)
	}
	if body == nil {
		return nil
	}
	file := []byte("RIFF\x00\x00\x00\x00WEBP")
	if plane != nil && alpha {
		w, h := size.X-1, size.Y-1
		file = appendRIFFChunk(file, "VP8X", []byte{1 << 4, 0, 0, 0, byte(w), byte(w >> 8), byte(w >> 16), byte(h), byte(h >> 8), byte(h >> 16)})
		file = appendRIFFChunk(file, "ALPH", plane)
	}
	file = appendRIFFChunk(file, name, body)
	binary.LittleEndian.PutUint32(file[4:], uint32(len(file)-8))
	return file
}

// losslessAlpha reports whether the lossless image among chunks declares alpha.
func losslessAlpha(chunks []byte) bool {
	body := chunk(chunks, "VP8L", binary.LittleEndian, 0, 0)
	return len(body) >= 5 && binary.LittleEndian.Uint32(body[1:])>>28&1 == 1
}

func appendRIFFChunk(b []byte, name string, body []byte) []byte {
	b = append(b, name...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, body...)
	return append(b, make([]byte, len(body)%2)...)
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// decodeWebP decodes a WebP file; of an animation, the first frame on its canvas. As in
// Pillow, the canvas is transparent, or black if the file is opaque.
func (d Decoder) decodeWebP(file []byte) (Image, error) {
	frame, err := firstWebP(file)
	if err != nil {
		return Image{}, decodeError("webp", err, d.Turbo)
	}
	if frame != nil {
		file = frame.file
		config, _, err := decodeConfig(bytes.NewReader(file), d.Turbo)
		if err != nil {
			return Image{}, err
		}
		if size := image.Pt(config.Width, config.Height); size != frame.at.Size() {
			return Image{}, fmt.Errorf("corrupt webp: a frame of %v pixels contains an image of %v", frame.at.Size(), size)
		}
	}
	img, err := webp.Decode(d.Memory.open(file))
	if err != nil {
		return Image{}, decodeError("webp", err, d.Turbo)
	}
	background := d.Background
	if frame != nil && !frame.alpha {
		background = Background{}
		if img, ok := img.(*image.NRGBA); ok {
			for i := 3; i < len(img.Pix); i += 4 {
				img.Pix[i] = 255
			}
		}
	}
	p, err := d.toImage(img, "webp")
	if err == nil && frame != nil {
		p = background.canvas(p, frame.at.Min, frame.canvas.X, frame.canvas.Y)
	}
	return p, err
}
