// The part of TurboJPEG's API (libjpeg-turbo 2.0 and later) that decodes a file.
#ifndef IDDPM_TURBOJPEG_BINDING_H
#define IDDPM_TURBOJPEG_BINDING_H

// turbojpeg_load opens the library and returns NULL. On failure it returns the dynamic
// loader's message, which is valid until the thread's next call.
const char *turbojpeg_load(const char *name);

void *turbojpeg_init(void);
void turbojpeg_destroy(void *handle);

// The others return 0, or -1 for an error or a warning, which turbojpeg_message
// then describes.
int turbojpeg_header(void *handle, const unsigned char *file, unsigned long size, int *width, int *height,
                     int *subsampling, int *colourspace);
int turbojpeg_decode(void *handle, const unsigned char *file, unsigned long size, unsigned char *pixels, int width,
                     int pitch, int height, int format, int flags);
const char *turbojpeg_message(void *handle);

#endif
