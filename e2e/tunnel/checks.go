package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Sixteen digits of a UUID of version 4, whose thirteenth says so.
var token = regexp.MustCompile("^[0-9a-f]{12}4[0-9a-f]{3}$")

func checks(registerAt, bootstrapAt, folder string) {
	admin := dial(registerAt, register, administrator(folder))
	first, second := calls(admin, bootstrapAt)
	refusals(admin, registerAt, bootstrapAt)
	one, two := packets(admin, first, second)
	sessions(admin, first, second, one, two)
	fmt.Println("legacy: every call, refusal, packet and end is as the contract has it")
}

// As ncadm loads its three files.
func administrator(folder string) *tls.Config {
	at := func(name string) string { return filepath.Join(folder, name) }
	pair, err := tls.LoadX509KeyPair(at("client.pem"), at("client-key.pem"))
	must(err, "the administrator's pair")
	pem, err := os.ReadFile(at("ca.pem"))
	must(err, "ca.pem")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		fail("ca.pem holds no authority")
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
}

// create-bootstrap-token, get-token, check-health, check-conn-state.
func calls(admin port, bootstrapAt string) (node, node) {
	open := dial(bootstrapAt, bootstrap, &tls.Config{InsecureSkipVerify: true})
	defer open.calls.Close()
	for _, port := range []port{admin, open} {
		expect("HealthCheck", port.asked("HealthCheck", "", nil).text("code"), "200")
	}
	if admin.asked("HelloWorld", "hello_text", "hello").text("thanks_text") == "" {
		fail("HelloWorld greets nobody")
	}
	made := admin.asked("GetBootStrapToken", "expireTime", int64(10))
	expect("GetBootStrapToken", made.verdict(), "200 ok")
	if !token.MatchString(made.text("bootStrapToken")) {
		fail("a bootstrap token is not 16 digits of a UUID")
	}
	expect("its place", made.text("cloudIp")+":"+made.text("port"), bootstrapAt)
	endpoint := admin.asked("GetBootStrapToken", "expireTime", int64(0))
	expect("no time", endpoint.verdict()+endpoint.text("bootStrapToken"), "200 ok")

	// Without an end it is for any number of nodes.
	first, second := join(bootstrapAt, made.text("bootStrapToken")), join(bootstrapAt, made.text("bootStrapToken"))
	for _, node := range []node{first, second} {
		if !token.MatchString(node.token) {
			fail("a node's token is not 16 digits of a UUID")
		}
		state(admin, node.token, -1, "")
	}
	if first.token == second.token {
		fail("two nodes have one token")
	}
	state(admin, "reserverd", 3, host(first.register))
	return first, second
}

func state(admin port, token string, state int64, ip string) {
	got := admin.asked("CheckConnState", "token", token)
	expect("CheckConnState", got.verdict(), "200 ok")
	expect("connState", got.number("connState"), state)
	expect("bindIp", got.text("bindIp"), ip)
}

// The socket tells its end at its own time.
func eventually(admin port, token string, state int64) {
	for range 600 {
		if admin.asked("CheckConnState", "token", token).number("connState") == state {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	fail("connState does not become %d", state)
}

func refusals(admin port, registerAt, bootstrapAt string) {
	open := dial(bootstrapAt, bootstrap, &tls.Config{InsecureSkipVerify: true})
	defer open.calls.Close()
	for _, unknown := range []string{" ", "deac5f329feb472", "DEAC5F329FEB4729", "deac5f329feb4729"} {
		got := open.asked("GetToken", "bootStrapToken", unknown)
		expect("GetToken of "+unknown, got.verdict(), "400 fail to find such item")
		expect("its endpoint", got.text("GrpcServerPort"), registerAt[strings.LastIndex(registerAt, ":")+1:])
		for _, rpc := range []string{"CheckConnState", "UnRegister", "GetRegistedIp"} {
			expect(rpc+" of "+unknown, admin.asked(rpc, "token", unknown).verdict(), "400 fail to find such item")
		}
		expect("connState", admin.asked("CheckConnState", "token", unknown).number("connState"), -1)
	}
	expect("GetToken of nothing", open.asked("GetToken", "", nil).verdict(), "400 bootstrap token can't be empty")
	for _, rpc := range []string{"CheckConnState", "UnRegister", "GetRegistedIp"} {
		expect(rpc+" of nothing", admin.asked(rpc, "", nil).verdict(), "400 token can't be empty")
	}
	expect("UnRegister of the server", admin.asked("UnRegister", "token", "reserverd").truth("result"), false)
	stranger := dial(registerAt, register, &tls.Config{InsecureSkipVerify: true})
	defer stranger.calls.Close()
	if _, err := stranger.ask("HealthCheck", "", nil); status.Code(err) != codes.Unavailable {
		fail("6440 without a certificate: %v", err)
	}
}

// Packets that are no UTF-8, both ways, and nothing else.
func packets(admin port, first, second node) (*tunnel, *tunnel) {
	one, two := first.open(), second.open()
	state(admin, first.token, 3, one.address())
	expect("GetRegistedIp", admin.asked("GetRegistedIp", "token", first.token).text("ip"), one.address())
	from, to := one.own.Addr(), two.own.Addr()
	bytesOfAll := make([]byte, 256)
	for at := range bytesOfAll {
		bytesOfAll[at] = byte(at)
	}
	for _, size := range []int{0, 1, 97, 98, 256, 1372} {
		data := bytes.Repeat(bytesOfAll, 6)[:size]
		packet := datagram(from, to, data)
		one.send(packet)
		two.receive("a packet", func(got []byte) bool { return bytes.Equal(got, packet) })
	}
	// The server answers pings, at the address that GetToken names.
	server := one.own.Masked().Addr().Next()
	expect("the server's own address", server.String(), host(first.register))
	one.send(echo(from, server, []byte("\xff\xfe")))
	one.receive("the answer to a ping", func(got []byte) bool {
		return len(got) == 30 && got[20] == 0 && bytes.HasSuffix(got, []byte("\xff\xfe"))
	})
	ponged := make(chan struct{}, 1)
	one.socket.SetPongHandler(func(string) error { ponged <- struct{}{}; return nil })
	must(one.socket.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute)), "a ping")
	one.send(echo(from, server, []byte("behind")))
	one.receive("the answer behind a ping", func(got []byte) bool { return bytes.HasSuffix(got, []byte("behind")) })
	select {
	case <-ponged:
	default:
		fail("a PING is not answered ahead of data")
	}
	return one, two
}

// How sockets end: unknown tokens, a second socket, UnRegister.
func sessions(admin port, first, second node, one, two *tunnel) {
	code, reason := farewell(first.knock("0000000000004000"))
	expect("an unknown token", fmt.Sprint(code, " ", reason), "1000 invalid token 0000000000004000")
	// The first answers the server's ping while it is asked, because somebody reads it.
	go func() {
		for {
			if _, _, err := one.socket.ReadMessage(); err != nil {
				return
			}
		}
	}()
	must(one.socket.SetReadDeadline(time.Now().Add(2*time.Minute)), "the deadline")
	code, reason = farewell(first.knock(first.token))
	expect("a second socket", fmt.Sprint(code, " ", reason), "1000 token "+first.token+" already connected")
	state(admin, first.token, 3, one.address())

	gone := admin.asked("UnRegister", "token", second.token)
	expect("UnRegister", fmt.Sprint(gone.verdict(), gone.truth("result")), "200 oktrue")
	if code, _ = farewell(two.socket); code != websocket.CloseNormalClosure {
		fail("UnRegister ends a socket with %d", code)
	}
	expect("once more", admin.asked("UnRegister", "token", second.token).verdict(), "400 fail to find such item")
	// After the 101, with its certificate too: a legacy client would repeat anything else twice a second.
	for _, gone := range []node{second, second.bare()} {
		code, reason = farewell(gone.knock(gone.token))
		expect("a node that is gone", fmt.Sprint(code, " ", reason), "1000 invalid token "+gone.token)
	}

	must(one.socket.Close(), "the end")
	eventually(admin, first.token, -1)
	state(admin, first.token, -1, one.address())
	again := first.open()
	expect("its address", again.address(), one.address())
	must(again.socket.Close(), "the end")
}
