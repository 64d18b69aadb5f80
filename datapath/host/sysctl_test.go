package host

import (
	"os"
	"path/filepath"
	"testing"
)

// Parameters are set and get the value back that they had, also by a daemon that was started anew, also when somebody
// asks twice.
func TestSysctlsAreRestored(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sysctls.json")
	param := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, v := range map[string]string{"forwarding": "0\n", "rp_filter": "2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(v), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set := func(want map[string]string) {
		t.Helper()
		s := &Sysctls{file: file, root: dir} // a new life each time
		if err := s.Set(want); err != nil {
			t.Fatal(err)
		}
	}
	set(map[string]string{"forwarding": "1", "rp_filter": "0"})
	set(map[string]string{"forwarding": "1", "rp_filter": "0"})
	if param("forwarding") != "1" || param("rp_filter") != "0" {
		t.Fatalf("forwarding %q, rp_filter %q", param("forwarding"), param("rp_filter"))
	}
	want := map[string]string{"forwarding": "1", "rp_filter": "0", "absent": "1"}
	if got := (&Sysctls{root: dir}).Drifted(want); len(got) != 0 {
		t.Fatalf("drifted: %v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "rp_filter"), []byte("1\n"), 0o644); err != nil { // somebody else
		t.Fatal(err)
	}
	if got := (&Sysctls{root: dir}).Drifted(want); len(got) != 1 || got[0] != "rp_filter" {
		t.Fatalf("drifted: %v", got)
	}
	set(map[string]string{"forwarding": "1", "rp_filter": "0"})
	set(map[string]string{"forwarding": "1"})
	if param("forwarding") != "1" || param("rp_filter") != "2" {
		t.Fatalf("forwarding %q, rp_filter %q", param("forwarding"), param("rp_filter"))
	}
	set(nil)
	if param("forwarding") != "0" {
		t.Fatalf("forwarding %q", param("forwarding"))
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Error("the file is left behind")
	}
}

// A parameter that does not exist is an error that names it, and does not keep others from being set.
func TestSysctlsFailIndependently(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "there"), []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &Sysctls{file: filepath.Join(dir, "saved"), root: dir}
	if err := s.Set(map[string]string{"absent": "1", "there": "1"}); err == nil {
		t.Error("no error")
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "there")); string(b) != "1" {
		t.Errorf("there is %q", b)
	}
}
