// What a network controller is at the least, with the libraries that LiteKube's is made of: the yardstick of the tunnel's bench.
//
//	legacy hub PORT FOLDER       packets between WebSockets, a channel for each peer; FOLDER: chain.pem, key.pem
//	legacy tokens PORT FOLDER    GetToken: a node's token and two P-256 certificates; nothing is kept on a disk
package main

import (
	"crypto/tls"
	"log"
	"net"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("legacy hub|tokens PORT FOLDER")
	}
	at := func(name string) string { return filepath.Join(os.Args[3], name) }
	pair, err := tls.LoadX509KeyPair(at("chain.pem"), at("key.pem"))
	must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[2])
	must(err)
	if os.Args[1] == "hub" {
		hub(listener, pair)
	} else {
		tokens(listener, pair)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
