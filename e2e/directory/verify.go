// Command verify reads a directory's log as any client of c2sp.org/tlog-tiles does, with the libraries of others: checkpoints, tiles,
// entry bundles and proofs must be accepted as they are, and refused when a byte of them is another.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
)

// directory is the log under test.
type directory struct {
	base     *url.URL
	token    string
	verifier note.Verifier
	fetcher  *client.HTTPFetcher
}

func main() {
	if err := command(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "witness":
		return serveWitness(ctx, args[1])
	case len(args) == 1 && args[0] == "key":
		return newKey()
	case len(args) == 5 && args[0] == "witnessed":
		return witnessed(ctx, args[1], args[2], args[3], args[4])
	case len(args) == 5 && args[0] == "schemas":
		return schemas(ctx, args[1], args[2], args[3], args[4])
	case len(args) >= 3:
		return run(ctx, args[0], args[1], args[2], args[3:])
	default:
		return errors.New("usage: verify URL TOKEN LOG_KEY [WITNESS_KEY...] | witness LOG_KEY | key | witnessed URL WITNESS_KEY LOG_SECRET LOG_KEY | schemas URL TOKEN STRICT_URL STRICT_TOKEN")
	}
}

func run(ctx context.Context, base, token, key string, witnesses []string) error {
	d, err := open(base, token, key)
	if err != nil {
		return err
	}
	for _, witness := range witnesses {
		if err := d.cosigned(ctx, witness); err != nil {
			return fmt.Errorf("the cosigned checkpoint: %w", err)
		}
		fmt.Println("ok the checkpoint is cosigned, and an altered one is not")
	}
	checkpoint, raw, _, err := client.FetchCheckpoint(ctx, d.fetcher.ReadCheckpoint, d.verifier, d.verifier.Name())
	if err != nil {
		return fmt.Errorf("the checkpoint: %w", err)
	}
	leaves, err := d.leaves(ctx, checkpoint.Size)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		work func() error
	}{
		{"every leaf is in the log", func() error { return d.inclusion(ctx, checkpoint, leaves) }},
		{"the log continues each of its sizes", func() error { return d.consistency(ctx, checkpoint) }},
		{"the directory's own proofs hold", func() error { return d.served(ctx, checkpoint, leaves) }},
		{"an altered checkpoint is refused", func() error { return d.altered(raw) }},
		{"an altered tile is refused", func() error { return d.alteredTiles(ctx, checkpoint, leaves) }},
	} {
		if err := step.work(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Println("ok", step.what)
	}
	return nil
}

func open(base, token, key string) (*directory, error) {
	root, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("the log's key: %w", err)
	}
	fetcher, err := client.NewHTTPFetcher(root.JoinPath("log/"), nil)
	if err != nil {
		return nil, err
	}
	fetcher.SetAuthorizationHeader("Bearer " + token)
	return &directory{root, token, verifier, fetcher}, nil
}

// leaves reads all entry bundles.
func (d *directory) leaves(ctx context.Context, size uint64) ([][]byte, error) {
	var all [][]byte
	for bundle := uint64(0); uint64(len(all)) < size; bundle++ {
		read, err := client.GetEntryBundle(ctx, d.fetcher.ReadEntryBundle, bundle, size)
		if err != nil {
			return nil, fmt.Errorf("bundle %d: %w", bundle, err)
		}
		if len(read.Entries) == 0 {
			return nil, fmt.Errorf("bundle %d is empty", bundle)
		}
		all = append(all, read.Entries...)
	}
	if uint64(len(all)) != size {
		return nil, fmt.Errorf("the checkpoint is over %d leaves, the bundles have %d", size, len(all))
	}
	return all, nil
}

// inclusion has the library build proofs from the tiles, and verifies them.
func (d *directory) inclusion(ctx context.Context, checkpoint *log.Checkpoint, leaves [][]byte) error {
	builder, err := client.NewProofBuilder(ctx, checkpoint.Size, d.fetcher.ReadTile)
	if err != nil {
		return err
	}
	for index, leaf := range leaves {
		hashes, err := builder.InclusionProof(ctx, uint64(index))
		if err != nil {
			return err
		}
		hash := rfc6962.DefaultHasher.HashLeaf(leaf)
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), checkpoint.Size, hash, hashes, checkpoint.Hash); err != nil {
			return fmt.Errorf("leaf %d: %w", index, err)
		}
		other := rfc6962.DefaultHasher.HashLeaf(append(bytes.Clone(leaf), ' '))
		if proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), checkpoint.Size, other, hashes, checkpoint.Hash) == nil {
			return fmt.Errorf("leaf %d: another leaf is taken for it", index)
		}
	}
	return nil
}

// rootOf is the root of the first leaves, from the tiles.
func (d *directory) rootOf(ctx context.Context, size uint64) ([]byte, error) {
	nodes, err := client.FetchRangeNodes(ctx, size, d.fetcher.ReadTile)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	root := nodes[len(nodes)-1]
	for at := len(nodes) - 2; at >= 0; at-- {
		root = rfc6962.DefaultHasher.HashChildren(nodes[at], root)
	}
	return root, nil
}

func (d *directory) consistency(ctx context.Context, checkpoint *log.Checkpoint) error {
	builder, err := client.NewProofBuilder(ctx, checkpoint.Size, d.fetcher.ReadTile)
	if err != nil {
		return err
	}
	for size := uint64(1); size <= checkpoint.Size; size++ {
		root, err := d.rootOf(ctx, size)
		if err != nil {
			return err
		}
		hashes, err := builder.ConsistencyProof(ctx, size, checkpoint.Size)
		if err != nil {
			return err
		}
		if err := verifyConsistency(checkpoint, size, root, hashes); err != nil {
			return err
		}
	}
	return nil
}

func verifyConsistency(checkpoint *log.Checkpoint, size uint64, root []byte, hashes [][]byte) error {
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, size, checkpoint.Size, hashes, root, checkpoint.Hash); err != nil {
		return fmt.Errorf("from %d leaves: %w", size, err)
	}
	wrong := flipped(root, 0)
	if proof.VerifyConsistency(rfc6962.DefaultHasher, size, checkpoint.Size, hashes, wrong, checkpoint.Hash) == nil {
		return fmt.Errorf("from %d leaves: another root is taken for the old one", size)
	}
	return nil
}

// served verifies what the directory answers at /proof.
func (d *directory) served(ctx context.Context, checkpoint *log.Checkpoint, leaves [][]byte) error {
	for index, leaf := range leaves {
		hashes, err := d.proof(ctx, fmt.Sprintf("proof/inclusion?index=%d&size=%d", index, checkpoint.Size))
		if err != nil {
			return err
		}
		hash := rfc6962.DefaultHasher.HashLeaf(leaf)
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), checkpoint.Size, hash, hashes, checkpoint.Hash); err != nil {
			return fmt.Errorf("leaf %d: %w", index, err)
		}
		for at := range hashes {
			wrong := append([][]byte{}, hashes...)
			wrong[at] = flipped(hashes[at], index%32)
			if proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), checkpoint.Size, hash, wrong, checkpoint.Hash) == nil {
				return fmt.Errorf("leaf %d: a proof with another hash %d holds", index, at)
			}
		}
	}
	for size := uint64(1); size <= checkpoint.Size; size++ {
		root, err := d.rootOf(ctx, size)
		if err != nil {
			return err
		}
		hashes, err := d.proof(ctx, fmt.Sprintf("proof/consistency?first=%d&second=%d", size, checkpoint.Size))
		if err != nil {
			return err
		}
		if err := verifyConsistency(checkpoint, size, root, hashes); err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) proof(ctx context.Context, path string) ([][]byte, error) {
	at := d.base.String() + "/" + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+d.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: HTTP %d: %s", path, answer.StatusCode, body)
	}
	var said struct {
		Hashes []string `json:"hashes"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, text := range said.Hashes {
		hash, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

// altered opens the checkpoint with each of its bytes changed.
func (d *directory) altered(raw []byte) error {
	_, _, whole, err := log.ParseCheckpoint(raw, d.verifier.Name(), d.verifier)
	if err != nil {
		return err
	}
	for at := range raw {
		_, _, changed, err := log.ParseCheckpoint(flipped(raw, at), d.verifier.Name(), d.verifier)
		if err == nil && !same(changed, whole) {
			return fmt.Errorf("byte %d may be another", at)
		}
	}
	return nil
}

// same says whether two notes are the same to the last bit: the last digit of a signature in base64 has bits that no byte has, and
// the library does not look at them.
func same(one, other *note.Note) bool {
	signature := func(n *note.Note) []byte {
		bytes, _ := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
		return bytes
	}
	return one.Text == other.Text && bytes.Equal(signature(one), signature(other))
}

// alteredTiles has each tile and bundle come with one byte changed.
func (d *directory) alteredTiles(ctx context.Context, checkpoint *log.Checkpoint, leaves [][]byte) error {
	if err := d.holds(ctx, checkpoint, leaves, d.fetcher.ReadTile); err != nil {
		return fmt.Errorf("as they are: %w", err)
	}
	for n := 0; n < 64; n++ {
		tiles := func(ctx context.Context, level, index uint64, width uint8) ([]byte, error) {
			raw, err := d.fetcher.ReadTile(ctx, level, index, width)
			if err != nil {
				return nil, err
			}
			return flipped(raw, n*len(raw)/64), nil
		}
		// A single leaf needs no tile to be in its log.
		if checkpoint.Size > 1 && d.holds(ctx, checkpoint, leaves, tiles) == nil {
			return fmt.Errorf("a tile with another byte %d of 64 holds", n)
		}
		if err := d.alteredBundle(ctx, checkpoint, leaves, n); err != nil {
			return err
		}
	}
	return nil
}

// alteredBundle has one bundle after the other come with its byte n of 64 changed, among all others as they are.
func (d *directory) alteredBundle(ctx context.Context, checkpoint *log.Checkpoint, leaves [][]byte, n int) error {
	for index := uint64(0); index*256 < checkpoint.Size; index++ {
		first := index * 256
		last := min(first+256, checkpoint.Size)
		raw, err := d.fetcher.ReadEntryBundle(ctx, index, uint8((last-first)%256))
		if err != nil {
			return err
		}
		var bundle api.EntryBundle
		if bundle.UnmarshalText(flipped(raw, n*len(raw)/64)) != nil {
			continue
		}
		all := slices.Concat(leaves[:first], bundle.Entries, leaves[last:])
		if uint64(len(bundle.Entries)) == last-first && slices.EqualFunc(all, leaves, bytes.Equal) {
			return fmt.Errorf("bundle %d with another byte %d of 64 reads as before", index, n)
		}
		if d.holds(ctx, checkpoint, all, d.fetcher.ReadTile) == nil {
			return fmt.Errorf("bundle %d with another byte %d of 64 holds", index, n)
		}
	}
	return nil
}

// holds says whether all leaves are in the log by these tiles.
func (d *directory) holds(ctx context.Context, checkpoint *log.Checkpoint, leaves [][]byte, tiles client.TileFetcherFunc) error {
	if uint64(len(leaves)) != checkpoint.Size {
		return errors.New("leaves are missing")
	}
	builder, err := client.NewProofBuilder(ctx, checkpoint.Size, tiles)
	if err != nil {
		return err
	}
	for index, leaf := range leaves {
		hashes, err := builder.InclusionProof(ctx, uint64(index))
		if err != nil {
			return err
		}
		hash := rfc6962.DefaultHasher.HashLeaf(leaf)
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), checkpoint.Size, hash, hashes, checkpoint.Hash); err != nil {
			return err
		}
	}
	return nil
}

func flipped(raw []byte, at int) []byte {
	changed := bytes.Clone(raw)
	changed[at] ^= 1
	return changed
}
