package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// journey is what a runner of its own process is told.
type journey struct {
	Address, Key, Identity, Dir string
	Order                       order
	// Upload is after how many bytes no more is sent, 0 if all is; Deaf, after
	// how many lines nothing is read any more.
	Upload, Deaf   int
	Timeout, Grace time.Duration
}

// client is a runner, to be killed.
func client(argument string) int {
	var j journey
	if err := json.Unmarshal([]byte(argument), &j); err != nil {
		return 2
	}
	conn, err := dial(j.Address, j.Key, j.Identity)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	h := over(conn)
	run := h.Exec
	h.Exec = func(ctx context.Context, s Script) error {
		if j.Upload > 0 {
			s.Stdin = io.MultiReader(io.LimitReader(s.Stdin, int64(j.Upload)), forever{})
		}
		if j.Deaf > 0 {
			s.Stdout = &deaf{w: s.Stdout, lines: j.Deaf}
		}
		return run(ctx, s)
	}
	o := Options{Dir: j.Dir, Program: itself, Timeout: j.Timeout, Grace: j.Grace}
	_, err = Call[result](context.Background(), h, o, j.Order, nil)
	fmt.Println("ended:", err)
	return 0
}

// forever is a stdin of which nothing more comes.
type forever struct{}

func (forever) Read([]byte) (int, error) { select {} }

// deaf hears so many lines and blocks then.
type deaf struct {
	w     io.Writer
	lines int
}

func (d *deaf) Write(p []byte) (int, error) {
	if d.lines <= 0 {
		select {}
	}
	d.lines -= strings.Count(string(p), "\n")
	return d.w.Write(p)
}
