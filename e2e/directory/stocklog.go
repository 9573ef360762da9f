package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/transparency-dev/formats/log"
	cosignature "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// stockOrigin is what the log of others is called.
const stockOrigin = "stock.example/log"

// newKey prints the secret and the verifier key of a log.
func newKey() error {
	secret, verifier, err := note.GenerateKey(rand.Reader, stockOrigin)
	if err != nil {
		return err
	}
	fmt.Println(secret, verifier)
	return nil
}

// answers is the way to a witness that keeps the statuses of its answers.
type answers struct {
	lock  sync.Mutex
	codes []int
}

func (a *answers) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err == nil {
		a.lock.Lock()
		defer a.lock.Unlock()
		a.codes = append(a.codes, answer.StatusCode)
	}
	return answer, err
}

func (a *answers) has(code int) bool {
	a.lock.Lock()
	defer a.lock.Unlock()
	for _, one := range a.codes {
		if one == code {
			return true
		}
	}
	return false
}

// stockLog is a log of tessera whose checkpoints are shown only once our witness has signed them.
type stockLog struct {
	signer  note.Signer
	witness tessera.Witness
}

// witnessed has our witness at the address sign a log of tessera as it grows, also after a restart, and refuse another history.
func witnessed(ctx context.Context, base, key, secret, logKey string) error {
	root, err := url.Parse(base)
	if err != nil {
		return err
	}
	witness, err := tessera.NewWitness(key, root)
	if err != nil {
		return fmt.Errorf("the witness' key: %w", err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return fmt.Errorf("the log's key: %w", err)
	}
	verifier, err := note.NewVerifier(logKey)
	if err != nil {
		return fmt.Errorf("the log's key: %w", err)
	}
	folders := [2]string{}
	for n := range folders {
		if folders[n], err = os.MkdirTemp("", "stock-log-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(folders[n]) }()
	}
	l := stockLog{signer, witness}
	for _, size := range []uint64{1, 3, 260} {
		raw, err := l.grow(ctx, folders[0], http.DefaultTransport, size, "entry")
		if err != nil {
			return fmt.Errorf("a log of %d entries: %w", size, err)
		}
		if err := l.isSigned(raw, verifier, size); err != nil {
			return fmt.Errorf("a log of %d entries: %w", size, err)
		}
	}
	fmt.Println("ok a log of tessera is cosigned as it grows")
	if err := l.fork(ctx, folders[1]); err != nil {
		return fmt.Errorf("another history: %w", err)
	}
	fmt.Println("ok another history of it is not")
	return nil
}

// begin opens the log in a folder, with the witness where there is a way to it.
func (l stockLog) begin(ctx context.Context, folder string, way http.RoundTripper) (*tessera.Appender, func(context.Context) error, tessera.LogReader, error) {
	driver, err := posix.New(ctx, posix.Config{Path: folder, HTTPClient: &http.Client{Transport: way}})
	if err != nil {
		return nil, nil, nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(l.signer).
		WithBatching(256, 10*time.Millisecond).
		WithCheckpointInterval(100 * time.Millisecond)
	if way != nil {
		options.WithWitnesses(tessera.NewWitnessGroup(1, l.witness), &tessera.WitnessOptions{Timeout: patience})
	}
	return tessera.NewAppender(ctx, driver, options)
}

// grow adds entries up to a size, and answers the checkpoint that is shown then. The log is opened anew each time.
func (l stockLog) grow(ctx context.Context, folder string, way http.RoundTripper, size uint64, text string) (raw []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	appender, shutdown, reader, err := l.begin(ctx, folder, way)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, shutdown(ctx)) }()
	before, err := reader.IntegratedSize(ctx)
	if err != nil {
		return nil, err
	}
	var last tessera.IndexFuture
	for n := before; n < size; n++ {
		last = appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "%s %d", text, n)))
	}
	_, raw, err = tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond).Await(ctx, last)
	return raw, err
}

// isSigned verifies both signatures of a checkpoint.
func (l stockLog) isSigned(raw []byte, verifier note.Verifier, size uint64) error {
	checkpoint, _, opened, err := log.ParseCheckpoint(raw, stockOrigin, verifier, l.witness.Key)
	if err != nil {
		return err
	}
	if checkpoint.Size != size || len(opened.Sigs) != 2 {
		return fmt.Errorf("the checkpoint is over %d entries and has %d signatures", checkpoint.Size, len(opened.Sigs))
	}
	at, err := cosignature.CoSigV1Timestamp(opened.Sigs[1])
	if err != nil || at.After(time.Now().Add(time.Minute)) || at.Before(time.Now().Add(-time.Hour)) {
		return fmt.Errorf("the witness signed at %v: %w", at, err)
	}
	return nil
}

// fork makes another log under the same key, longer than the one that the witness knows: it must be refused as none that continues it.
func (l stockLog) fork(ctx context.Context, folder string) error {
	alone, err := l.grow(ctx, folder, nil, 300, "another entry")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	seen := &answers{}
	appender, _, reader, err := l.begin(ctx, folder, seen)
	if err != nil {
		return err
	}
	appender.Add(ctx, tessera.NewEntry([]byte("the last entry")))
	for ; !seen.has(http.StatusUnprocessableEntity); time.Sleep(50 * time.Millisecond) {
		if ctx.Err() != nil {
			return errors.New("the witness did not refuse it")
		}
	}
	raw, err := reader.ReadCheckpoint(ctx)
	if err != nil {
		return err
	}
	if seen.has(http.StatusOK) || string(raw) != string(alone) {
		return fmt.Errorf("it is shown:\n%s", raw)
	}
	return nil
}
