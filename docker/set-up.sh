#!/bin/sh
# Prepares a bare base image to run iddpm: its JPEG decoder, the certificates by which s3://, gs:// and downloads are
# trusted, its user, its folders, its place on the PATH.
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
rm -rf /var/lib/apt/lists/*

# 1000 is the first user of most hosts, so a folder of theirs mounted at /runs is writable at once.
# Some bases have a user of that number already; sharing the number does no harm.
useradd --uid 1000 --non-unique --user-group --create-home --shell /usr/sbin/nologin iddpm
chmod 755 /home/iddpm
# Writable by whichever user `docker run --user` names; a volume mounted there for the first time is like it.
install -d -m 1777 /runs /work /home/iddpm/.cache
ln -s /runs /work/runs
ln -s /opt/iddpm/iddpm /usr/local/bin/iddpm
