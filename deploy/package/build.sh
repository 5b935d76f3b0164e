#!/usr/bin/env bash
# Makes a package of BIN/turnwarden-ARCH, which is built already, and of what BIN/turnwarden,
# which is for this machine, prints:
#   build.sh deb|rpm NFPM BIN VERSION DATE ARCH DIRECTORY
# The same commit makes the same bytes: DATE, that of the commit, is each file's time.
set -euo pipefail
cd "$(dirname "$0")/../.."

format=$1 nfpm=$2 bin=$3 date=$5 directory=$7
export VERSION=$4 ARCH=$6
SOURCE_DATE_EPOCH=$(date -d "$date" +%s 2>/dev/null || echo 0) # unknown outside of git
export SOURCE_DATE_EPOCH

TREE=$(mktemp -d)
export TREE
trap 'rm -rf "$TREE"' EXIT
umask 022

install -m 755 "$bin/turnwarden-$ARCH" "$TREE/turnwarden"
man=$TREE/share/man/man1 doc=$TREE/share/doc/turnwarden
mkdir -p "$man" "$doc" "$TREE/share/bash-completion/completions"
# kingpin puts all of --version into the title.
"$bin/turnwarden" --help-man >"$TREE/man"
{
	printf '.TH turnwarden 1 "%s" "turnwarden %s"\n' "${date%%T*}" "$VERSION"
	sed -n '/^\.SH "NAME"/,$p' "$TREE/man"
} | gzip -9n >"$man/turnwarden.1.gz"
"$bin/turnwarden" --completion-script-bash >"$TREE/share/bash-completion/completions/turnwarden"
"$bin/turnwarden" --completion-script-zsh >"$TREE/_turnwarden"
"$bin/turnwarden" dashboards --out="$TREE/share/turnwarden"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
cp README.md "$doc/"
cp LICENSE "$doc/copyright"
deploy/licenses.sh "$doc/licenses"
cp deploy/ecosystem.config.cjs "$TREE/share/turnwarden/"

cp deploy/turnwarden.yml "$TREE/"
if [[ $format == rpm ]]; then # whose coturn has its configuration elsewhere
	sed -i 's|^  #config_file:.*|  config_file: /etc/coturn/turnserver.conf|' "$TREE/turnwarden.yml"
fi
mkdir -p "$directory"
"$nfpm" package --config deploy/package/nfpm.yaml --packager "$format" --target "$directory/"
