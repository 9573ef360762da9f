package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"

	cosignature "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

// serveWitness runs the witness of transparency-dev for one log until it is ended: it prints its verifier key and its address.
func serveWitness(ctx context.Context, logKey string) error {
	verifier, err := note.NewVerifier(logKey)
	if err != nil {
		return fmt.Errorf("the log's key: %w", err)
	}
	secret, plain, err := note.GenerateKey(rand.Reader, "stock.example/witness")
	if err != nil {
		return err
	}
	key, err := cosignature.VKeyToCosignatureV1(plain)
	if err != nil {
		return err
	}
	signer, err := cosignature.NewSignerForCosignatureV1(secret)
	if err != nil {
		return err
	}
	w, err := witness.New(ctx, witness.Opts{
		Persistence: inmemory.New(),
		Signers:     []note.Signer{signer},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			return verifier, origin == verifier.Name(), nil
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(key, listener.Addr())
	handler := http.NewServeMux()
	handler.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(w).AddCheckpoint)
	return http.Serve(listener, handler)
}
