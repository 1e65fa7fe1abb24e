# shellcheck shell=bash
# shellcheck disable=SC2034 # the ids are for those who source this
# What the recovery half of the demo looks at: hosts that are backed up by units and
# timers of their own, to a host that stands for BorgBase and for pCloud. Sourced by
# scripts/demo, on Linux as root.

# recovery_world HOSTS DIR RUNNER_DIR LABCTL ADDRESS HOST_KEY makes it, with the
# files of HOSTS (a directory a host), and what the runner keeps of it in DIR:
# ssh_config, known_hosts, host_keys, secrets. ADDRESS and HOST_KEY are edge-1's,
# which is a node already; RUNNER_DIR is what the runner itself backs up. The ids of
# the two repositories are SHARED_ID and RUNNER_ID.
recovery_world() {
	local hosts=$1 dir=$2 runner_dir=$3 labctl=$4 edge_address=$5 edge_key=$6
	local name job jobs=() pi pi_key vault vault_key identity
	mkdir -p "$dir/secrets" "$dir/hosts"
	"$labctl" add forgejo-pi offsite >"$dir/lab"
	identity=$(sed -n 's/^identity\t//p' "$dir/lab")
	IFS=$'\t' read -r pi pi_key <<<"$(awk -F '\t' '$1 == "forgejo-pi" { print $2 "\t" $6 }' "$dir/lab")"
	IFS=$'\t' read -r vault vault_key <<<"$(awk -F '\t' '$1 == "offsite" { print $2 "\t" $6 }' "$dir/lab")"
	echo "forgejo-pi $pi_key" >"$dir/host_keys"

	# What the tailnet's DNS does elsewhere, and the keys of those whom it names.
	printf '%s %s\n' "$edge_address" "$edge_key" "$pi" "$pi_key" "$vault" "$vault_key" >"$dir/known_hosts"
	{
		printf 'Host %s\n  HostName %s\n' edge-1 "$edge_address" forgejo-pi "$pi" offsite "$vault"
		printf 'Host *\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n  BatchMode yes\n' "$identity" "$dir/known_hosts"
	} >"$dir/ssh_config"

	recovery_secrets "$dir" "$vault"
	recovery_disks "$hosts" "$dir" "$vault" "$vault_key" "$identity.pub"
	for name in offsite forgejo-pi edge-1; do
		recovery_furnish "$dir" "$labctl" "$name" &
		jobs[${#jobs[@]}]=$!
	done >/dev/null
	for job in "${jobs[@]}"; do wait "$job"; done

	# The repositories are made once, by hand, and their ids written down; then each
	# backup once, as its timer would start it.
	{ recovery_restic "$dir" init --json >"$dir/runner.json" && recovery_restic "$dir" -q backup --host mac-mini "$runner_dir"; } &
	jobs=("$!")
	SHARED_ID=$("$labctl" run forgejo-pi 'restic-borgbase init --json' | jq -r .id)
	"$labctl" run edge-1 'systemctl start restic-backups-borgbase' >/dev/null &
	jobs[1]=$!
	"$labctl" run forgejo-pi 'systemctl start restic-backups-borgbase rclone-lfs && systemctl list-timers --no-pager --no-legend restic-backups-borgbase.timer rclone-lfs.timer' >"$dir/timers"
	for job in "${jobs[@]}"; do wait "$job"; done
	RUNNER_ID=$(jq -r .id "$dir/runner.json")
}

# recovery_furnish DIR LABCTL HOST puts onto a host's disk what is to be on it.
recovery_furnish() {
	tar -C "$1/hosts/$3" --owner=root --group=root -c . | "$2" ssh "$3" 'sudo tar -x -C / --no-same-owner --keep-directory-symlink --no-overwrite-dir && sudo sh -eu /root/furnish'
}

# recovery_restic DIR ARGUMENT... is restic as the runner has it, over sftp.
recovery_restic() {
	local dir=$1
	shift
	restic --no-cache -r sftp:vault@offsite:/srv/vault/runner -o "sftp.args=-F $dir/ssh_config" --password-file "$dir/secrets/runner.password" "$@"
}

# recovery_secrets DIR ADDRESS makes what the operator made once.
recovery_secrets() {
	local dir=$1/secrets vault=$2 name
	(
		umask 077
		for name in shared runner rest; do openssl rand -hex 16 >"$dir/$name.password"; done
		echo "rest:https://edge:$(cat "$dir/rest.password")@$vault:8000/" >"$dir/repository"
		ssh-keygen -q -t ed25519 -N '' -C forgejo-pi -f "$dir/mirror"
		openssl genpkey -algorithm ed25519 -outform DER -out "$dir/rustdesk.der"
		for name in vault k3s; do
			openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$name" -addext "subjectAltName=IP:$vault" \
				-keyout "$dir/$name.key" -out "$dir/$name.pem" 2>/dev/null
		done
	)
}

# recovery_disks HOSTS DIR ADDRESS HOST_KEY OPERATOR lays out what comes onto the
# disks of the hosts, and for each a script that makes the rest of it there.
recovery_disks() {
	local hosts=$1 dir=$2 vault=$3 vault_key=$4 operator=$5 secrets=$2/secrets name etc
	local pi=$dir/hosts/forgejo-pi edge=$dir/hosts/edge-1 offsite=$dir/hosts/offsite
	cp -R "$hosts/." "$dir/hosts"
	for name in forgejo-pi edge-1; do
		etc=$dir/hosts/$name/etc/borgbase
		mkdir -p "$etc" "$dir/hosts/$name/root"
		install -m 0755 "$(command -v restic)" "$dir/hosts/$name/usr/local/bin/"
		cp "$secrets/repository" "$etc/repository"
		cp "$secrets/shared.password" "$etc/password"
		cp "$secrets/vault.pem" "$etc/ca.pem"
	done

	# The place for all of them: restic's server, and a login for sftp.
	mkdir -p "$offsite/usr/local/bin" "$offsite/etc/rest-server" "$offsite/root"
	install -m 0755 "$(command -v rest-server)" "$offsite/usr/local/bin/"
	echo "edge:{SHA}$(tr -d '\n' <"$secrets/rest.password" | openssl dgst -sha1 -binary | base64)" >"$offsite/etc/rest-server/users"
	cp "$secrets/vault.pem" "$offsite/etc/rest-server/cert.pem"
	cp "$secrets/vault.key" "$offsite/etc/rest-server/key.pem"
	cat "$operator" "$secrets/mirror.pub" >"$offsite/root/authorized_keys"
	cat >"$offsite/root/furnish" <<-'END'
		useradd --create-home --home-dir /srv/vault --shell /bin/sh vault
		install -d -m 0700 -o vault -g vault /srv/vault/.ssh /srv/vault/rest
		install -m 0600 -o vault -g vault /root/authorized_keys /srv/vault/.ssh/authorized_keys
		chown -R vault /etc/rest-server
		systemctl -q daemon-reload
		systemctl -q enable --now rest-server.socket
	END

	# The forge: its database, its repositories, its LFS objects.
	install -m 0755 "$(command -v rclone)" "$pi/usr/local/bin/"
	mkdir -p "$pi/etc/forgejo" "$pi/home/forgejo/.config/rclone" "$pi/home/forgejo/.ssh" "$pi/var/lib/forgejo/dump"
	printf '[database]\nDB_TYPE = sqlite3\n' >"$pi/etc/forgejo/app.ini"
	cp "$secrets/mirror" "$pi/home/forgejo/.ssh/mirror"
	echo "$vault $vault_key" >"$pi/home/forgejo/.ssh/known_hosts"
	printf '[pcloud]\ntype = sftp\nhost = %s\nuser = vault\nkey_file = ~/.ssh/mirror\nknown_hosts_file = ~/.ssh/known_hosts\n' "$vault" >"$pi/home/forgejo/.config/rclone/rclone.conf"
	recovery_forge "$pi/var/lib/forgejo" >"$pi/root/forgejo.sql"
	cat >"$pi/root/furnish" <<-'END'
		useradd --home-dir /home/forgejo --shell /bin/sh forgejo
		mkdir -p /var/lib/forgejo/data
		sqlite3 -bail /var/lib/forgejo/data/forgejo.db </root/forgejo.sql
		chown -R forgejo:forgejo /home/forgejo /var/lib/forgejo
		chmod 700 /home/forgejo/.ssh
		systemctl -q daemon-reload
		systemctl -q enable --now restic-backups-borgbase.timer rclone-lfs.timer
	END

	# The node: RustDesk's key pair, K3s' token and its datastore.
	mkdir -p "$edge/var/lib/rustdesk" "$edge/var/lib/rancher/k3s/server/tls" "$edge/var/lib/rancher/k3s/server/db"
	recovery_rustdesk "$secrets/rustdesk.der" "$edge/var/lib/rustdesk"
	cp "$secrets/k3s.pem" "$edge/var/lib/rancher/k3s/server/tls/server-ca.crt"
	openssl rand -hex 16 >"$secrets/k3s.password"
	echo "K10$(sha256sum "$secrets/k3s.pem" | cut -d ' ' -f 1)::server:$(cat "$secrets/k3s.password")" >"$edge/var/lib/rancher/k3s/server/token"
	recovery_k3s <"$secrets/k3s.password" >"$edge/root/kine.sql"
	cat >"$edge/root/furnish" <<-'END'
		sqlite3 -bail /var/lib/rancher/k3s/server/db/state.db </root/kine.sql
		systemctl -q daemon-reload
		systemctl -q enable --now restic-backups-borgbase.timer
	END
}

# recovery_k3s prints K3s' datastore: two objects, and the cluster's own keys,
# sealed with the password of its token (stdin) in K3s' way, for which openssl's
# command line has no mode.
recovery_k3s() {
	echo "CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, created INTEGER, deleted INTEGER, create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB);
INSERT INTO kine (name, created, deleted, value) VALUES ('/registry/namespaces/kube-system', 1, 0, '{}'), ('/registry/namespaces/rustdesk', 1, 0, '{}');"
	# shellcheck disable=SC2016 # JavaScript's own
	node -e '
		const crypto = require("crypto");
		const password = require("fs").readFileSync(0, "utf8").trim();
		const salt = crypto.randomBytes(8).toString("hex"), nonce = crypto.randomBytes(12);
		const aead = crypto.createCipheriv("aes-256-gcm", crypto.pbkdf2Sync(password, salt, 4096, 32, "sha1"), nonce);
		const sealed = Buffer.concat([nonce, aead.update("{}"), aead.final(), aead.getAuthTag()]).toString("base64");
		const name = "/bootstrap/" + crypto.createHash("sha256").update(password).digest("hex").slice(0, 12);
		console.log(`INSERT INTO kine (name, created, deleted, value) VALUES (\u0027${name}\u0027, 1, 0, \u0027${salt}:${sealed}\u0027);`);
	'
}

# recovery_rustdesk DER DIR writes a key pair as RustDesk's server has it: the
# seed with the public key after it, and that key again, both in base64. In DER
# each is at the end.
recovery_rustdesk() {
	{
		tail -c 32 "$1"
		openssl pkey -inform DER -in "$1" -pubout -outform DER | tail -c 32
	} | base64 -w 0 >"$2/id_ed25519"
	openssl pkey -inform DER -in "$1" -pubout -outform DER | tail -c 32 | base64 -w 0 >"$2/id_ed25519.pub"
}

# recovery_forge DIR makes repositories and LFS objects as Forgejo has them, and
# prints what its database says of them. One has a branch that is called tmp, as
# the excludes have it that drop such branches.
recovery_forge() {
	local dir=$1 id=0 branch_id=0 name branch repo blob tree commit oid
	local git=(env -u GIT_DIR GIT_AUTHOR_NAME=demo GIT_AUTHOR_EMAIL=demo@localhost GIT_COMMITTER_NAME=demo GIT_COMMITTER_EMAIL=demo@localhost git)
	echo "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO user VALUES (1, 'ops');
CREATE TABLE repository (id INTEGER PRIMARY KEY, owner_id INTEGER, owner_name TEXT, lower_name TEXT, name TEXT, is_empty INTEGER);
CREATE TABLE branch (id INTEGER PRIMARY KEY, repo_id INTEGER, name TEXT, commit_id TEXT, is_deleted INTEGER);
CREATE TABLE lfs_meta_object (id INTEGER PRIMARY KEY, oid TEXT, size INTEGER, repository_id INTEGER, created_unix INTEGER);"
	for name in control-plane infra runtime; do
		repo=$dir/repositories/ops/$name.git
		"${git[@]}" init -q --bare -b main "$repo"
		echo "INSERT INTO repository VALUES ($((++id)), 1, 'ops', '$name', '$name', 0);"
		for branch in main tmp; do
			blob=$(echo "$name $branch" | "${git[@]}" -C "$repo" hash-object -w --stdin)
			tree=$(printf '100644 blob %s\tREADME\n' "$blob" | "${git[@]}" -C "$repo" mktree)
			commit=$("${git[@]}" -C "$repo" commit-tree -m "$branch" "$tree")
			"${git[@]}" -C "$repo" update-ref "refs/heads/$branch" "$commit"
			echo "INSERT INTO branch VALUES ($((++branch_id)), $id, '$branch', '$commit', 0);"
		done
		oid=$(echo "a large file of $name" | sha256sum | cut -d ' ' -f 1)
		mkdir -p "$dir/data/lfs/${oid:0:2}/${oid:2:2}"
		echo "a large file of $name" >"$dir/data/lfs/${oid:0:2}/${oid:2:2}/${oid:4}"
		# Older than the contract's max_age, so that each has to be on the mirror.
		echo "INSERT INTO lfs_meta_object VALUES ($id, '$oid', $((17 + ${#name})), $id, $(($(date +%s) - 604800)));"
	done
}
