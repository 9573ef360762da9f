package main

import (
	"encoding/binary"
	"net/netip"
)

const (
	icmp = 1
	udp  = 17
)

// An IPv4 packet without options.
func ipv4(from, to netip.Addr, protocol byte, payload []byte) []byte {
	packet := make([]byte, 20, 20+len(payload))
	packet[0] = 0x45
	binary.BigEndian.PutUint16(packet[2:], uint16(20+len(payload)))
	packet[8], packet[9] = 64, protocol
	copy(packet[12:], from.AsSlice())
	copy(packet[16:], to.AsSlice())
	binary.BigEndian.PutUint16(packet[10:], checksum(packet))
	return append(packet, payload...)
}

// A question of ping.
func echo(from, to netip.Addr, data []byte) []byte {
	message := append([]byte{8, 0, 0, 0, 0, 7, 0, 1}, data...)
	binary.BigEndian.PutUint16(message[2:], checksum(message))
	return ipv4(from, to, icmp, message)
}

// A datagram without a checksum, which IPv4 allows.
func datagram(from, to netip.Addr, data []byte) []byte {
	head := make([]byte, 8)
	binary.BigEndian.PutUint16(head, 4000)
	binary.BigEndian.PutUint16(head[2:], 4001)
	binary.BigEndian.PutUint16(head[4:], uint16(8+len(data)))
	return ipv4(from, to, udp, append(head, data...))
}

// The internet checksum (RFC 1071).
func checksum(bytes []byte) uint16 {
	var sum uint32
	for at := 0; at+1 < len(bytes); at += 2 {
		sum += uint32(binary.BigEndian.Uint16(bytes[at:]))
	}
	if len(bytes)%2 == 1 {
		sum += uint32(bytes[len(bytes)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
