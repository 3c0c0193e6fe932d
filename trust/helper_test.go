package trust

import "github.com/mustermesh/muster/proto"

func peer(n byte) proto.PeerID { return proto.PeerID{n} }

func peers(ns ...byte) (list []proto.PeerID) {
	for _, n := range ns {
		list = append(list, peer(n))
	}
	return list
}
