package tuplenet_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestTargetsOfMakeExist(t *testing.T) {
	text, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	phony := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindSubmatch(text)
	if phony == nil {
		t.Fatal("no .PHONY in the Makefile")
	}
	for _, target := range strings.Fields(string(phony[1])) {
		if !regexp.MustCompile(`(?m)^` + target + `:`).Match(text) {
			t.Errorf("make %s has no rule", target)
		}
	}
}
