// A node and an administrator of LiteKube, written from the contract alone with the libraries that the original uses (grpc-go,
// gorilla/websocket): what they ask, what they must be answered, and a tunnel with a TUN device.
//
//	legacy checks REGISTER BOOTSTRAP ADMIN    every call and refusal; ADMIN: the folder of ca.pem, client.pem, client-key.pem
//	legacy join BOOTSTRAP TOKEN FOLDER        a node with a device until it is ended; prints its address once packets pass
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) == 5 && os.Args[1] == "checks" {
		checks(os.Args[2], os.Args[3], os.Args[4])
	} else if len(os.Args) == 5 && os.Args[1] == "join" {
		node := join(os.Args[2], os.Args[3])
		node.keep(os.Args[4])
		node.open().device()
	} else {
		fail("legacy checks REGISTER BOOTSTRAP ADMIN, or legacy join BOOTSTRAP TOKEN FOLDER")
	}
}

func fail(format string, parts ...any) {
	fmt.Fprintf(os.Stderr, "legacy: "+format+"\n", parts...)
	os.Exit(1)
}

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func expect[T comparable](what string, got, want T) {
	if got != want {
		fail("%s: %v, and not %v", what, got, want)
	}
}
