package model

import "slices"

// Tags are the tags of an object; those that nodes write have none.
func Tags(o Object) []string {
	if t := tagsOf(o); t != nil {
		return *t
	}
	return nil
}

// AddTag gives an object a tag unless it has it; objects that nodes write get none. The object must not have been handed on.
func AddTag(o Object, tag string) {
	if t := tagsOf(o); t != nil && !slices.Contains(*t, tag) {
		*t = append(slices.Clone(*t), tag)
	}
}

func tagsOf(o Object) *[]string {
	switch o := o.(type) {
	case *Pool:
		return &o.Tags
	case *LogicalSwitch:
		return &o.Tags
	case *LogicalSwitchPort:
		return &o.Tags
	case *LogicalRouter:
		return &o.Tags
	case *LogicalRouterPort:
		return &o.Tags
	case *StaticRoute:
		return &o.Tags
	case *NATRule:
		return &o.Tags
	}
	return nil
}
