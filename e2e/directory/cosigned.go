package main

import (
	"context"
	"fmt"
	"time"

	"github.com/transparency-dev/formats/log"
	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// patience is how long a witness may take; only a test that has failed waits for so long.
const patience = 2 * time.Minute

// cosigned waits until the checkpoint has the signature of the witness too, and alters each byte of it.
func (d *directory) cosigned(ctx context.Context, key string) error {
	witness, err := cosignature.NewVerifierForCosignatureV1(key)
	if err != nil {
		return fmt.Errorf("the witness' key: %w", err)
	}
	raw, err := d.signedByBoth(ctx, witness)
	if err != nil {
		return err
	}
	checkpoint, _, whole, err := log.ParseCheckpoint(raw, d.verifier.Name(), d.verifier, witness)
	if err != nil {
		return err
	}
	for _, signature := range whole.Sigs {
		if signature.Name != witness.Name() {
			continue
		}
		at, err := cosignature.CoSigV1Timestamp(signature)
		if err != nil || at.After(time.Now().Add(time.Minute)) || at.Before(time.Now().Add(-time.Hour)) {
			return fmt.Errorf("the witness signed at %v: %w", at, err)
		}
	}
	for at := range raw {
		_, _, changed, err := log.ParseCheckpoint(flipped(raw, at), d.verifier.Name(), d.verifier, witness)
		if err == nil && len(changed.Sigs) == len(whole.Sigs) && !sameSignatures(changed, whole) {
			return fmt.Errorf("byte %d of a cosigned checkpoint of %d leaves may be another", at, checkpoint.Size)
		}
	}
	return nil
}

// signedByBoth reads the checkpoint until log and witness have signed it.
func (d *directory) signedByBoth(ctx context.Context, witness note.Verifier) ([]byte, error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		raw, err := d.fetcher.ReadCheckpoint(ctx)
		if err != nil {
			return nil, err
		}
		_, _, opened, err := log.ParseCheckpoint(raw, d.verifier.Name(), d.verifier, witness)
		if err != nil {
			return nil, err
		}
		if len(opened.Sigs) == 2 {
			return raw, nil
		}
	}
	return nil, fmt.Errorf("the witness did not sign within %v", patience)
}

// sameSignatures says whether two notes are the same, in each of their verified signatures.
func sameSignatures(one, other *note.Note) bool {
	for at := range one.Sigs {
		first := &note.Note{Text: one.Text, Sigs: one.Sigs[at : at+1]}
		if !same(first, &note.Note{Text: other.Text, Sigs: other.Sigs[at : at+1]}) {
			return false
		}
	}
	return true
}
