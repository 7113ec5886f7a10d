#!/bin/sh
# Prints the version of a checkout: version.sh GIT, where GIT contains HEAD, refs and packed-refs of a .git folder.
# It is for builds without an explicit version; `git describe` would need the history too.
set -eu
git=$1
head=$(cat "$git/HEAD" 2>/dev/null) || head=
case $head in
"ref: "*)
  ref=${head#ref: }
  head=$(cat "$git/$ref" 2>/dev/null) || head=$(sed -n "s|^\([0-9a-f]*\) $ref\$|\1|p" "$git/packed-refs" 2>/dev/null) || head=
  ;;
esac
short=$(printf %.7s "$head")
echo "${short:-unknown}"
