package main

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"
)

// As many packets as may wait for one peer; what comes beside them is dropped.
const waiting = 1024

type address [4]byte

type switching struct {
	lock  sync.RWMutex
	peers map[address]chan []byte
}

func hub(listener net.Listener, pair tls.Certificate) {
	all := &switching{peers: map[address]chan []byte{}}
	secured := tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}})
	must(http.Serve(secured, http.HandlerFunc(all.join)))
}

// Peer N, as its token says, has the N-th odd address from 10.1.0.3 on.
func (s *switching) join(answer http.ResponseWriter, request *http.Request) {
	number, err := strconv.Atoi(request.Header.Get("Node-Token"))
	if err != nil {
		http.Error(answer, "no number", http.StatusBadRequest)
		return
	}
	upgrader := websocket.Upgrader{}
	socket, err := upgrader.Upgrade(answer, request, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	own := address{10, 1, byte(number / 120), byte(3 + number%120*2)}
	if _, _, err = socket.ReadMessage(); err != nil {
		return
	}
	cidr := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s/16", net.IP(own[:])))
	reply := fmt.Sprintf(`{"connectionState":2,"payload":"%s"}`, cidr)
	if socket.WriteMessage(websocket.TextMessage, []byte(reply)) != nil {
		return
	}
	packets := make(chan []byte, waiting)
	s.lock.Lock()
	s.peers[own] = packets
	s.lock.Unlock()
	go func() {
		for packet := range packets {
			if socket.WriteMessage(websocket.TextMessage, packet) != nil {
				return
			}
		}
	}()
	for {
		_, packet, err := socket.ReadMessage()
		if err != nil {
			break
		}
		s.forward(own, packet)
	}
	s.lock.Lock()
	delete(s.peers, own)
	s.lock.Unlock()
	close(packets)
}

func (s *switching) forward(own address, packet []byte) {
	if len(packet) < 20 || packet[0]>>4 != 4 || address(packet[12:16]) != own {
		return
	}
	s.lock.RLock()
	defer s.lock.RUnlock()
	if to, ok := s.peers[address(packet[16:20])]; ok {
		select {
		case to <- packet:
		default:
		}
	}
}
