package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// New makes an empty object of a kind; nil if there is no such kind.
func New(k Kind) Object {
	switch k {
	case KindPool:
		return new(Pool)
	case KindSwitch:
		return new(LogicalSwitch)
	case KindSwitchPort:
		return new(LogicalSwitchPort)
	case KindRouter:
		return new(LogicalRouter)
	case KindRouterPort:
		return new(LogicalRouterPort)
	case KindRoute:
		return new(StaticRoute)
	case KindNAT:
		return new(NATRule)
	case KindChassis:
		return new(Chassis)
	case KindBinding:
		return new(Binding)
	}
	return nil
}

// Encode validates an object and writes it as JSON.
func Encode(o Object) ([]byte, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write %s as JSON: %w", o.Ref(), err)
	}
	return b, nil
}

// Decode reads the object that is kept under ref. It is strict: a field that this version does not know might change
// the meaning of the object, so the object is refused rather than half understood; so is an object whose names are not
// those of its key. The error is one line.
func Decode(ref Ref, value []byte) (Object, error) {
	o := New(ref.Kind)
	if o == nil {
		return nil, fmt.Errorf("unknown kind of object %q", ref.Kind)
	}
	if err := decodeStrict(value, o); err != nil {
		return nil, err
	}
	if got := o.Ref(); got != ref {
		return nil, fmt.Errorf("it says that it is %s", got)
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return o, nil
}

// DecodeStatus reads a status. Unlike objects it is only shown, so unknown fields are left alone.
func DecodeStatus(value []byte) (*Status, error) {
	s := new(Status)
	if err := json.Unmarshal(value, s); err != nil {
		return nil, fmt.Errorf("invalid status: %s", oneLine(err))
	}
	return s, nil
}

func decodeStrict(value []byte, into any) error {
	if !bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{")) {
		return errors.New("invalid JSON: not an object")
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		text := oneLine(err)
		if strings.HasPrefix(text, "unknown field") {
			return errors.New(text)
		}
		return fmt.Errorf("invalid JSON: %s", text)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("invalid JSON: something follows the object")
	}
	return nil
}

// oneLine is the text of an error of encoding/json without the name of the package.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "json: "), "\n", " ")
}
