package main

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// What is measured through a way is only worth something if all of it arrives,
// in order, with its end, and if each connection is counted.
func TestFar(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				data, _ := io.ReadAll(conn) // only the end that was passed on ends it
				conn.Write(data)
			}()
		}
	}()
	var delay atomic.Int64
	delay.Store(int64(2 * time.Millisecond))
	way, err := listenFar(echo.Addr().String(), &delay)
	if err != nil {
		t.Fatal(err)
	}
	defer way.close()
	sent := make([]byte, 3<<20)
	for i := range sent {
		sent[i] = byte(i * i >> 8)
	}
	for range 3 {
		conn, err := net.Dial("tcp", way.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		conn.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes came back of %d (%v)", len(got), len(sent), err)
		}
	}
	if n := way.connections.Load(); n != 3 {
		t.Errorf("%d connections were counted, want 3", n)
	}
}
