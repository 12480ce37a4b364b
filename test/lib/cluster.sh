# shellcheck shell=bash
# A temporary cluster for one suite. Sourced after setup.sh.

# ward_cluster_start DIR [LINE...]: initdb below DIR, preloaded, sockets in DIR, no
# network; the lines are added to postgresql.conf. Sets PGHOST, PGPORT and PGUSER.
ward_cluster_start() {
	local dir=$1
	shift
	ward_as_user mkdir -p "$dir"
	[ -e "$dir/kek" ] || ward_make_kek "$dir/kek"
	ward_as_user "$WARD_BINDIR/initdb" -D "$dir/data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 \
		--no-sync >"$dir/initdb.log"
	{
		cat "$WARD_ROOT/test/lib/postgresql.conf"
		echo "ward.kek_file = '$dir/kek'"
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$dir'"
		local line
		for line in "$@"; do echo "$line"; done
	} | ward_as_user tee -a "$dir/data/postgresql.conf" >/dev/null
	export PGHOST=$dir PGPORT=${WARD_PORT:-5432} PGUSER=postgres PGDATABASE=postgres
	ward_as_user "$WARD_BINDIR/pg_ctl" -s -w -D "$dir/data" -o "-p $PGPORT" -l "$dir/server.log" start
}

ward_cluster_stop() {
	if [ -f "$1/data/postmaster.pid" ]; then
		ward_as_user "$WARD_BINDIR/pg_ctl" -s -w -m fast -D "$1/data" stop || true
	fi
}
