# shellcheck shell=bash
# Set-up shared by demo/run, test/run and test/bench/run: installs what is missing,
# finds the server to build against, builds and installs the extension, and runs
# commands as an unprivileged user (PostgreSQL refuses to run as root).
#
# Sourced, not run. Everything it makes goes below a directory that the caller names.

# Debian's packages by purpose. A bare Debian has none of them.
ward_packages() {
	local version=${WARD_PG_VERSION:-15} purpose
	for purpose in "$@"; do
		case $purpose in
			build) echo "make gcc libc6-dev libpq-dev libp11-kit-dev libssl-dev libicu-dev libkrb5-dev openssl postgresql-$version postgresql-server-dev-$version" ;;
			demo) echo "python3 python3-psycopg2" ;;
			test) echo "chromium libipc-run-perl libtap-parser-sourcehandler-pgtap-perl postgresql-$version-cron postgresql-$version-pgaudit postgresql-$version-pgtap procps python3 python3-cryptography python3-psycopg2 opensc pgbouncer poppler-utils softhsm2" ;;
			lint) echo "clang-format clang-tidy cppcheck shellcheck binutils git" ;;
			fuzz) echo "clang libclang-rt-dev" ;;
			bench) echo "postgresql-$version-pgaudit python3 python3-psycopg2" ;;
			clients)
				echo "libpostgresql-jdbc-java default-jdk-headless"
				# Another build of Node.js may be here, which Debian's would conflict with.
				if ! command -v node >/dev/null; then echo nodejs; fi
				if ! command -v npm >/dev/null; then echo npm; fi
				;;
			*) echo "unknown purpose: $purpose" >&2; return 1 ;;
		esac
	done
}

ward_as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# ward_setup PURPOSE...: installs what is missing for these purposes, asking nothing.
# With WARD_NO_INSTALL set (say, a hand-built server named by PG_CONFIG) it only
# says what is missing.
ward_setup() {
	local package missing=()
	for package in $(ward_packages "$@"); do
		if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
			missing+=("$package")
		fi
	done
	if [ ${#missing[@]} -eq 0 ]; then return 0; fi
	if [ -n "${WARD_NO_INSTALL:-}" ]; then
		echo "not installed: ${missing[*]}" >&2
		return 0
	fi
	echo "installing: ${missing[*]}"
	ward_as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
	ward_as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		"${missing[@]}" >/dev/null
}

# Sets PG_CONFIG, WARD_BINDIR and WARD_PKGLIBDIR.
ward_find_server() {
	if [ -z "${PG_CONFIG:-}" ]; then
		PG_CONFIG=/usr/lib/postgresql/${WARD_PG_VERSION:-15}/bin/pg_config
	fi
	if [ ! -x "$PG_CONFIG" ]; then
		echo "no pg_config at $PG_CONFIG" >&2
		return 1
	fi
	WARD_BINDIR=$("$PG_CONFIG" --bindir)
	WARD_PKGLIBDIR=$("$PG_CONFIG" --pkglibdir)
	export PG_CONFIG WARD_BINDIR WARD_PKGLIBDIR
}

# The unprivileged user of test clusters: ourselves, unless we are root.
ward_user() {
	if [ "$(id -u)" = 0 ]; then echo postgres; else id -un; fi
}

# ward_as_user COMMAND...: runs it as that user, keeping the environment.
ward_as_user() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u "$(ward_user)" -- "$@"
	else
		"$@"
	fi
}

# ward_workdir NAME: a fresh directory that the unprivileged user owns. The path is
# short, because a socket's path may have 107 bytes.
ward_workdir() {
	local dir
	dir=$(mktemp -d "${WARD_TMPDIR:-/tmp}/$1.XXXXXX")
	if [ "$(id -u)" = 0 ]; then chown "$(ward_user)" "$dir"; fi
	chmod 755 "$dir"
	echo "$dir"
}

# ward_copy_tree FROM TO: the sources without git's folder or anything built, so
# that the clone stays as it is and may lie where the unprivileged user can't read.
ward_copy_tree() {
	mkdir -p "$2"
	tar -C "$1" --exclude=.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
		--exclude=./results --exclude=./tmp_check --exclude=./build -cf - . | tar -C "$2" -xf -
	if [ "$(id -u)" = 0 ]; then chown -R "$(ward_user)" "$2"; fi
}

# ward_build SOURCE [MAKE ARGUMENT...]: builds there and installs into the server.
ward_build() {
	local source=$1
	shift
	ward_as_user make -s -j2 -C "$source" PG_CONFIG="$PG_CONFIG" "$@"
	if [ -w "$WARD_PKGLIBDIR" ]; then
		make -s -C "$source" PG_CONFIG="$PG_CONFIG" "$@" install
	else
		ward_as_root make -s -C "$source" PG_CONFIG="$PG_CONFIG" "$@" install
	fi
}

# ward_make_kek FILE: a key-encryption key as the file provider wants it.
ward_make_kek() {
	# shellcheck disable=SC2016 # the inner shell expands it
	ward_as_user sh -c 'umask 077 && openssl rand -out "$1" 32' sh "$1"
}
