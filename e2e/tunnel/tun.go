package main

import (
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"
)

// What the original's client takes on both ends; it is not negotiated.
const mtu = 1400

// Carries packets between the tunnel and a TUN device, as the original's client does: own address, the next one as the peer, and
// the network by way of it. Runs until the socket ends.
func (t *tunnel) device() {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(err, "/dev/net/tun")
	request, err := unix.NewIfreq("legacy")
	must(err, "the device's name")
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	must(unix.IoctlIfreq(fd, unix.TUNSETIFF, request), "the device")
	must(unix.SetNonblock(fd, true), "the device")
	device := os.NewFile(uintptr(fd), "legacy")
	peer := t.own.Addr().Next().String()
	ip("addr", "add", "local", t.address(), "peer", peer, "dev", "legacy")
	ip("link", "set", "legacy", "mtu", fmt.Sprint(mtu), "up")
	ip("route", "add", t.own.Masked().String(), "via", peer, "dev", "legacy")
	fmt.Println(t.address())

	sending := make(chan []byte, 256)
	go func() {
		for {
			buffer := make([]byte, 2048)
			size, err := device.Read(buffer)
			must(err, "a read of the device")
			sending <- buffer[:size]
		}
	}()
	go t.write(sending)
	// Only a PONG moves the deadline, never data.
	const silence = 60 * time.Second
	alive := func(string) error { return t.socket.SetReadDeadline(time.Now().Add(silence)) }
	t.socket.SetPongHandler(alive)
	must(alive(""), "the deadline")
	for {
		kind, packet, err := t.socket.ReadMessage()
		must(err, "the tunnel")
		if kind == websocket.TextMessage {
			_, err = device.Write(packet)
			must(err, "a write to the device")
		}
	}
}

// One goroutine writes: packets, and a ping every half minute.
func (t *tunnel) write(sending <-chan []byte) {
	pings := time.NewTicker(30 * time.Second)
	for {
		select {
		case packet := <-sending:
			t.send(packet)
		case <-pings.C:
			must(t.socket.WriteControl(websocket.PingMessage, nil, time.Now().Add(10*time.Second)), "a ping")
		}
	}
}

func ip(args ...string) {
	said, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		fail("ip %v: %s", args, said)
	}
}
