// Package imaging decodes images and preprocesses them: resize and center-crop to
// squares. The pixels are identical to those of Pillow 13, and so of the reference.
//
// The data flow of an image, in reading order of the files:
//
//  1. A Decoder (decode.go) decodes a file to 8-bit grey, RGB or CMYK (image.go):
//     JPEG by libjpeg-turbo if installed (turbo.go, turbojpeg), common PNG files
//     by our own decoder (png.go), the rest by Go's decoders (convert.go, with the colour
//     planes of JPEG and WebP in ycbcr.go and webp.go) and gobmp (bmp.go). Transparent
//     pixels are composited on the background, and the EXIF orientation is applied if
//     enabled (exif.go, turn.go). Buffers are reused for the next image (memory.go).
//  2. Image.Fit (fit.go) halves it with a box filter while it is at least twice too large
//     (halve.go), scales it with Pillow's bicubic filter (resample.go), and crops the
//     centre.
//
// Of an animation only the first frame is decoded (webp.go). A PNG that is damaged after
// its last pixel is decoded, as in Pillow (png_repair.go). Unsupported files are
// distinguished from corrupt ones (unsupported.go). An image that was decoded but looks
// wrong has a Warning (image.go).
//
// Grid (grid.go) arranges images of one size in a grid.
package imaging
