package store

import (
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcd ends a connection on which it is asked too often whether it is there (too_many_pings), and with it all watches.
func TestTheClientAsksWhetherEtcdIsThereNoMoreOftenThanEtcdAllows(t *testing.T) {
	s, err := Open(Config{Endpoints: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := s.clientConfig()
	if c.PermitWithoutStream || c.DialKeepAliveTime < 2*embed.DefaultGRPCKeepAliveMinTime || c.DialKeepAliveTimeout <= 0 {
		t.Errorf("every %v, for %v, also while nothing is under way: %v; etcd allows it every %v, and never of an idle client",
			c.DialKeepAliveTime, c.DialKeepAliveTimeout, c.PermitWithoutStream, embed.DefaultGRPCKeepAliveMinTime)
	}
}
