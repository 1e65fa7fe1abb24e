// Command rclone-s3 is the real rclone with its S3 server and one place to keep
// things, the local disk: a third of its size, and a name that hides no rclone
// of the machine's. Its "serve s3" honours conditional writes, without which
// OpenTofu's lock file would be no lock; that of Debian's rclone is not there.
package main

import (
	_ "github.com/rclone/rclone/backend/local"
	"github.com/rclone/rclone/cmd"
	_ "github.com/rclone/rclone/cmd/serve"
	_ "github.com/rclone/rclone/cmd/serve/s3"
)

func main() { cmd.Main() }
