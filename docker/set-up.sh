#!/bin/sh
# Prepares a bare base image to run iddpm: the JPEG decoder, TLS certificates for s3://, gs:// and downloads, the user,
# the folders, and the link on the PATH.
set -eu

command -v apt-get >/dev/null || {
  echo "set-up.sh: this base image has no apt-get: set BASE (and CUDA_BASE) to a Debian or an Ubuntu" >&2
  exit 1
}
# TurboJPEG, by Debian's name or by Ubuntu's.
apt-get update
package=libturbojpeg0
apt-cache show $package >/dev/null 2>&1 || package=libturbojpeg
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates $package
apt-get clean # the base images of Docker do that by themselves, others keep 80 MB
rm -rf /var/lib/apt/lists/*

# 1000 is the first user of most hosts, so that user's folder is writable when mounted at /runs.
# Some bases already have a user of that number; sharing it is harmless.
useradd --uid 1000 --non-unique --user-group --create-home --shell /usr/sbin/nologin iddpm
chmod 755 /home/iddpm
# Writable by any user of `docker run --user`; a new volume mounted there inherits the mode.
install -d -m 1777 /runs /work /home/iddpm/.cache
ln -s /runs /work/runs
ln -s /opt/iddpm/iddpm /usr/local/bin/iddpm
