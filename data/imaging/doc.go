// Package imaging decodes images and fits them to squares, to the pixels that Pillow
// 13, and so the reference, makes of the same files. It knows no collections of images.
//
// An image's walk, in the order of the files to read:
//
//  1. A Decoder (decode.go) decodes a file to 8-bit grey, RGB or CMYK (image.go):
//     JPEG by libjpeg-turbo where that is (turbo.go, turbojpeg), the common kind of PNG
//     here (png.go), the rest by Go's decoders (convert.go, with JPEG's and WebP's colour
//     planes in ycbcr.go and webp.go) and gobmp (bmp.go), over the background where it is transparent, turned
//     if EXIF says so and one asks for it (exif.go, turn.go). Its buffers serve the next
//     image (memory.go).
//  2. Image.Fit (fit.go) halves it with a box filter while it is twice too large
//     (halve.go), scales it with Pillow's bicubic filter (resample.go), and crops it to
//     its centre.
//
// Of an animation it is the first frame (webp.go). A PNG that is damaged after its last
// pixel is read as Pillow does (png_repair.go). What is not decoded at all is told from
// what is corrupt (unsupported.go), and an image that was decoded to what nobody can have
// wanted has a Warning (image.go).
//
// Grid (grid.go) lays images of one size out to look at.
package imaging
