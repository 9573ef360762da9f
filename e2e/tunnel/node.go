package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// What a node is given by GetToken, checked as far as LiteKube's node would stumble over it.
type node struct {
	token    string
	tunnel   string
	register string
	grpc     plane
	network  plane
}

// A plane's files as ncadm writes them, and what they come to.
type plane struct {
	files  map[string][]byte
	config *tls.Config
}

// Joins as ncadm's get-token does: on 6439, whose certificate legacy clients do not verify at all.
func join(address, bootstrapToken string) node {
	open := dial(address, bootstrap, &tls.Config{InsecureSkipVerify: true})
	defer open.calls.Close()
	got := open.asked("GetToken", "bootStrapToken", bootstrapToken)
	expect("GetToken", got.verdict(), "200 ok")
	return node{
		token:    got.text("token"),
		tunnel:   net.JoinHostPort(got.text("networkServerIp"), got.text("networkServerPort")),
		register: net.JoinHostPort(got.text("GrpcServerIp"), got.text("GrpcServerPort")),
		grpc:     papers(got, "Grpc"),
		network:  papers(got, "Network"),
	}
}

// Certificates come as PEM in standard base64: one block each, the key in the form of SEC1.
func papers(got answer, name string) plane {
	part := func(field, kind string) []byte {
		bytes, err := base64.StdEncoding.DecodeString(got.text(name + field))
		must(err, name+field)
		block, rest := pem.Decode(bytes)
		if block == nil || block.Type != kind || len(rest) > 0 {
			fail("%s%s is not one block of %s", name, field, kind)
		}
		return bytes
	}
	files := map[string][]byte{
		"ca.pem":         part("CaCert", "CERTIFICATE"),
		"client.pem":     part("ClientCert", "CERTIFICATE"),
		"client-key.pem": part("ClientKey", "EC PRIVATE KEY"),
	}
	pair, err := tls.X509KeyPair(files["client.pem"], files["client-key.pem"])
	must(err, name+"'s pair")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(files["ca.pem"]) {
		fail("%sCaCert is no authority", name)
	}
	return plane{files, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
}

// Writes what the register plane wants, and the token, as ncadm's get-token does.
func (n node) keep(folder string) {
	for name, bytes := range n.grpc.files {
		must(os.WriteFile(filepath.Join(folder, name), bytes, 0o600), name)
	}
	must(os.WriteFile(filepath.Join(folder, "token"), []byte(n.token), 0o600), "token")
}

// The same node, which shows no certificate.
func (n node) bare() node {
	n.network.config = &tls.Config{RootCAs: n.network.config.RootCAs}
	return n
}

// A tunnel as the original's client has it.
type tunnel struct {
	socket *websocket.Conn
	own    netip.Prefix
}

// Asks for a socket. The server must have said 101.
func (n node) knock(token string) *websocket.Conn {
	dialer := websocket.Dialer{TLSClientConfig: n.network.config, HandshakeTimeout: time.Minute}
	socket, answer, err := dialer.Dial("wss://"+n.tunnel+"/ws", http.Header{"Node-Token": {token}})
	must(err, "the upgrade")
	for _, name := range []string{"Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Set-Cookie"} {
		if answer.Header.Get(name) != "" {
			fail("the upgrade has a header %s", name)
		}
	}
	return socket
}

type handshake struct {
	ConnectionState int     `json:"connectionState"`
	Payload         *string `json:"payload"`
}

// Opens the tunnel: nothing is read for half a second, and the first text must be the reply to the handshake.
func (n node) open() *tunnel {
	socket := n.knock(n.token)
	time.Sleep(500 * time.Millisecond)
	question, err := json.Marshal(handshake{ConnectionState: 2})
	must(err, "the handshake")
	if len(question) != 36 {
		fail("the handshake has %d bytes", len(question))
	}
	must(socket.WriteMessage(websocket.TextMessage, question), "the handshake")
	var reply handshake
	must(json.Unmarshal(next(socket), &reply), "the first text")
	if reply.ConnectionState != 2 || reply.Payload == nil {
		fail("the first text is no reply")
	}
	bytes, err := base64.StdEncoding.DecodeString(*reply.Payload)
	must(err, "the reply's payload")
	own, err := netip.ParsePrefix(string(bytes))
	must(err, "the reply's address")
	if !own.Addr().Is4() || own.Addr().As4()[3]%2 == 0 {
		fail("%s is no address for a point-to-point device", own)
	}
	return &tunnel{socket, own}
}

// The next text message. Control frames are answered meanwhile, as gorilla does by itself.
func next(socket *websocket.Conn) []byte {
	must(socket.SetReadDeadline(time.Now().Add(time.Minute)), "the deadline")
	kind, bytes, err := socket.ReadMessage()
	must(err, "a message")
	if kind != websocket.TextMessage {
		fail("a message of type %d, which a legacy client passes over", kind)
	}
	return bytes
}

// How the server ended a socket: code and reason.
func farewell(socket *websocket.Conn) (int, string) {
	must(socket.SetReadDeadline(time.Now().Add(time.Minute)), "the deadline")
	for {
		_, _, err := socket.ReadMessage()
		if err == nil {
			continue
		}
		closed, ok := err.(*websocket.CloseError)
		if !ok {
			fail("the socket ended with %v", err)
		}
		return closed.Code, closed.Text
	}
}

func (t *tunnel) send(packet []byte) {
	must(t.socket.WriteMessage(websocket.TextMessage, packet), "a packet")
}

// The next packet of which this is so; what else comes is passed over.
func (t *tunnel) receive(what string, fits func([]byte) bool) []byte {
	for range 100 {
		if packet := next(t.socket); fits(packet) {
			return packet
		}
	}
	fail("%s does not come", what)
	return nil
}

func (t *tunnel) address() string { return t.own.Addr().String() }

func host(address string) string {
	ip, _, _ := strings.Cut(address, ":")
	return ip
}
