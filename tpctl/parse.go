package tpctl

import (
	"net/netip"
	"strings"

	"tuplenet/model"
)

// noAddress stands for an address that is left out when more arguments follow: the store chooses one if it can.
const noAddress = "-"

// checkNames refuses names that the store would refuse, before it is asked.
func checkNames(names ...string) error {
	for _, n := range names {
		if err := model.ValidateName(n); err != nil {
			return err
		}
	}
	return nil
}

// parseAddrs reads IP[,IP6]; empty and "-" are no address.
func parseAddrs(text string) ([]netip.Addr, error) {
	if text == "" || text == noAddress {
		return nil, nil
	}
	return parseEach(text, model.ParseIP)
}

// parseNets reads CIDR[,CIDR6]: interface addresses with their prefix lengths, not masked.
func parseNets(text string) ([]netip.Prefix, error) {
	return parseEach(text, model.ParseInterfaceCIDR)
}

// parseSubnets reads the values of --subnet; each may be a list too.
func parseSubnets(texts []string) ([]netip.Prefix, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	return parseEach(strings.Join(texts, ","), model.ParseSubnet)
}

func parseEach[T any](list string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, text := range strings.Split(list, ",") {
		value, err := parse(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

// argument returns the i-th argument or nothing.
func argument(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
