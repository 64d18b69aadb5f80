package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sysctls sets kernel parameters (sysctl(8)) and restores them when they are not asked for any more, also after a restart:
// the values found are kept in a file. It is not safe for concurrent use.
type Sysctls struct {
	file string // what was found, by path below root
	root string
}

// NewSysctls keeps what it found in file.
func NewSysctls(file string) *Sysctls { return &Sysctls{file: file, root: "/proc/sys"} }

// Set makes the parameters, named by their path such as net/ipv4/conf/all/forwarding, what they should be, and gives those
// of earlier calls that are not named any more their old values back. Parameters fail independently.
func (s *Sysctls) Set(want map[string]string) error {
	found, err := s.load()
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(found)) {
		if _, ok := want[path]; ok {
			continue
		}
		// A device that is gone took its parameters along.
		if err := s.write(path, found[path]); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		delete(found, path)
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		now, err := s.read(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if now == want[path] {
			continue
		}
		if _, ok := found[path]; !ok {
			found[path] = now
			if err := s.save(found); err != nil { // what is not remembered cannot be restored
				return err
			}
		}
		if err := s.write(path, want[path]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, s.save(found))...)
}

// Drifted lists those of the parameters, sorted, that have another value now. One that cannot be read is not among them.
func (s *Sysctls) Drifted(want map[string]string) (paths []string) {
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if now, err := s.read(path); err == nil && now != want[path] {
			paths = append(paths, path)
		}
	}
	return paths
}

func (s *Sysctls) read(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.root, path))
	if err != nil {
		return "", fmt.Errorf("kernel parameter %s: %w", path, err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (s *Sysctls) write(path, value string) error {
	if err := os.WriteFile(filepath.Join(s.root, path), []byte(value), 0o644); err != nil {
		return fmt.Errorf("kernel parameter %s: %w", path, err)
	}
	return nil
}

func (s *Sysctls) load() (map[string]string, error) {
	found := map[string]string{}
	b, err := os.ReadFile(s.file)
	if errors.Is(err, os.ErrNotExist) {
		return found, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &found)
	}
	if err != nil {
		return nil, fmt.Errorf("kernel parameters to restore: %w", err)
	}
	return found, nil
}

func (s *Sysctls) save(found map[string]string) error {
	if len(found) == 0 {
		if err := os.Remove(s.file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.Marshal(found)
	if err == nil {
		err = os.WriteFile(s.file+".new", b, 0o644)
	}
	if err == nil {
		err = os.Rename(s.file+".new", s.file)
	}
	if err != nil {
		return fmt.Errorf("kernel parameters to restore: %w", err)
	}
	return nil
}
