package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// The messages as the contract's table has them, with nothing taken from our own definitions: fields in the order of their
// numbers, strings unless a type stands behind the name.
var messages = map[string]string{
	"HelloWorldRequest":         "hello_text",
	"HelloWorldResponse":        "thanks_text",
	"HealthCheckRequest":        "",
	"HealthCheckResponse":       "code",
	"GetBootStrapTokenRequest":  "expireTime:int64",
	"GetBootStrapTokenResponse": "code message bootStrapToken cloudIp port",
	"GetTokenRequest":           "bootStrapToken",
	"GetTokenResponse": "code message token networkServerIp networkServerPort GrpcServerIp GrpcServerPort " +
		"GrpcCaCert GrpcClientKey GrpcClientCert NetworkCaCert NetworkClientKey NetworkClientCert",
	"CheckConnStateRequest": "token",
	"CheckConnResponse":     "code message connState:int32 bindIp",
	"UnRegisterRequest":     "token",
	"UnRegisterResponse":    "code message result:bool",
	"GetRegistedIpRequest":  "token",
	"GetRegistedIpResponse": "code message ip",
}

// Where the name of an answer is not that of its question.
var answers = map[string]string{"CheckConnState": "CheckConnResponse"}

var types = map[string]descriptorpb.FieldDescriptorProto_Type{
	"int64": descriptorpb.FieldDescriptorProto_TYPE_INT64,
	"int32": descriptorpb.FieldDescriptorProto_TYPE_INT32,
	"bool":  descriptorpb.FieldDescriptorProto_TYPE_BOOL,
	"":      descriptorpb.FieldDescriptorProto_TYPE_STRING,
}

const (
	register  = "pb.LiteKubeNCService"
	bootstrap = "pb.LiteKubeNCBootstrapService"
)

var file = described()

func described() protoreflect.FileDescriptor {
	all := &descriptorpb.FileDescriptorProto{
		Name:    proto.String("network_controller_service.proto"),
		Package: proto.String("pb"),
		Syntax:  proto.String("proto3"),
	}
	for name, fields := range messages {
		message := &descriptorpb.DescriptorProto{Name: proto.String(name)}
		for at, field := range strings.Fields(fields) {
			field, kind, _ := strings.Cut(field, ":")
			message.Field = append(message.Field, &descriptorpb.FieldDescriptorProto{
				Name:   proto.String(field),
				Number: proto.Int32(int32(at + 1)),
				Label:  descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
				Type:   types[kind].Enum(),
			})
		}
		all.MessageType = append(all.MessageType, message)
	}
	built, err := protodesc.NewFile(all, nil)
	must(err, "the contract's own messages")
	return built
}

// An answer, by the names of its fields.
type answer struct{ message *dynamicpb.Message }

func (a answer) text(name string) string  { return a.value(name).String() }
func (a answer) number(name string) int64 { return a.value(name).Int() }
func (a answer) truth(name string) bool   { return a.value(name).Bool() }
func (a answer) value(name string) protoreflect.Value {
	return a.message.Get(a.message.Descriptor().Fields().ByName(protoreflect.Name(name)))
}

// The verdict is in the answer's strings, whatever happened: gRPC says OK.
func (a answer) verdict() string { return a.text("code") + " " + a.text("message") }

// A port, as ncadm dials it: one connection, no deadline of its own.
type port struct {
	calls   *grpc.ClientConn
	service string
}

func dial(address, service string, config *tls.Config) port {
	calls, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	must(err, address)
	return port{calls, service}
}

// Calls an rpc with one field set, or none. What gRPC itself says comes back as an error.
func (p port) ask(rpc, field string, value any) (answer, error) {
	message := func(name string) *dynamicpb.Message {
		return dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(name)))
	}
	question := message(rpc + "Request")
	if field != "" {
		question.Set(question.Descriptor().Fields().ByName(protoreflect.Name(field)), protoreflect.ValueOf(value))
	}
	name, ok := answers[rpc]
	if !ok {
		name = rpc + "Response"
	}
	got := answer{message(name)}
	patience, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := p.calls.Invoke(patience, fmt.Sprintf("/%s/%s", p.service, rpc), question, got.message)
	if err == nil && len(got.message.GetUnknown()) > 0 {
		err = fmt.Errorf("%s has fields that the contract does not have", name)
	}
	return got, err
}

// The same where gRPC must say OK.
func (p port) asked(rpc, field string, value any) answer {
	got, err := p.ask(rpc, field, value)
	must(err, rpc)
	return got
}
