// Command etcd is the real etcd under its own name: its module's main package
// is called server, and a tool is named after its package.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
