package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math"
	"math/big"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/encoding/protowire"
)

// Messages as they are on the wire: no generated code could be faster.
type raw struct{}

func (raw) Name() string                         { return "proto" }
func (raw) Marshal(message any) ([]byte, error)  { return *message.(*[]byte), nil }
func (raw) Unmarshal(bytes []byte, to any) error { *to.(*[]byte) = bytes; return nil }

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

type desk struct {
	planes [2]authority
	nodes  sync.Map
}

func tokens(listener net.Listener, pair tls.Certificate) {
	all := &desk{planes: [2]authority{made("register"), made("join")}}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&pair)), grpc.ForceServerCodec(raw{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "pb.LiteKubeNCBootstrapService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "GetToken", Handler: all.call}},
	}, all)
	must(server.Serve(listener))
}

func (d *desk) call(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var question []byte
	if err := read(&question); err != nil {
		return nil, err
	}
	secret := make([]byte, 8)
	rand.Read(secret)
	token := hex.EncodeToString(secret)
	d.nodes.Store(token, struct{}{})
	fields := []string{"200", "ok", token, "127.0.0.1", "6441", "10.1.1.1", "6440"}
	for at, organization := range []string{"lknm:register", "lknm:join"} {
		certificate, key, err := d.planes[at].issue(organization)
		if err != nil {
			return nil, err
		}
		for _, text := range []string{d.planes[at].pem, key, certificate} {
			fields = append(fields, base64.StdEncoding.EncodeToString([]byte(text)))
		}
	}
	var answer []byte
	for at, field := range fields {
		answer = protowire.AppendTag(answer, protowire.Number(at+1), protowire.BytesType)
		answer = protowire.AppendString(answer, field)
	}
	return &answer, nil
}

func (a *authority) issue(organization string) (string, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(math.MaxInt64))
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{organization}, CommonName: "network-controller-client"},
		NotBefore:    a.certificate.NotBefore,
		NotAfter:     time.Now().AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return "", "", err
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", "", err
	}
	return block("CERTIFICATE", certificate), block("EC PRIVATE KEY", sec1), nil
}

func made(name string) authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "lknm-" + name + "-ca"},
		NotBefore:             time.Now(),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	bytes, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(err)
	certificate, err := x509.ParseCertificate(bytes)
	must(err)
	return authority{certificate, key, block("CERTIFICATE", bytes)}
}

func block(kind string, bytes []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
}
