package tpctl

import (
	"context"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// completionTimeout bounds the look into the store while the user waits at the tab key.
var completionTimeout = 2 * time.Second

// candidates finds the names for the argument that follows the arguments before. No error: no names.
type candidates func(ctx context.Context, st *store.Store, before []string) ([]string, error)

// completeNames makes the completion of a verb's arguments from the names in the store. Whatever goes wrong means
// that nothing is proposed: a shell has no place for an error message.
func (a *app) completeNames(v verb) cobra.CompletionFunc {
	return func(cmd *cobra.Command, before []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if v.complete == nil || len(before) >= v.max {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		set, err := resolveSettings(a.flags, a.env)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		set.Timeout = min(completionTimeout, set.Timeout)
		st, err := open(set)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer st.Close()
		names, err := v.complete(cmd.Context(), st, before)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeOption makes the completion of an option's value from the names in the store.
func (a *app) completeOption(c *cobra.Command, option string, names candidates) {
	complete := a.completeNames(verb{complete: names, max: 1})
	err := c.RegisterFlagCompletionFunc(option, func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return complete(cmd, nil, typed)
	})
	if err != nil {
		panic(err) // the option is not declared: a mistake in this package
	}
}

// maxPrefixes bounds how many deployments are proposed.
const maxPrefixes = 50

// completeSettings proposes values of the options that every command takes: formats, the members of the etcd that is
// configured, and the prefixes of the deployments in it; if it does not answer, what is configured.
func (a *app) completeSettings(root *cobra.Command) {
	live := func(look candidates, configured func(settings) []string) cobra.CompletionFunc {
		complete := a.completeNames(verb{complete: look, max: 1})
		return func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if names, directive := complete(cmd, nil, typed); len(names) > 0 {
				return names, directive
			}
			set, err := resolveSettings(noFlags(), a.env)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return configured(set), cobra.ShellCompDirectiveNoFileComp
		}
	}
	functions := map[string]cobra.CompletionFunc{
		"endpoints": live(memberNames, func(s settings) []string { return s.Endpoints }),
		"prefix":    live(prefixNames, func(s settings) []string { return []string{s.Prefix} }),
		"output": func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []string{string(formatPlain), string(formatJSON), string(formatYAML), string(formatTable)}, cobra.ShellCompDirectiveNoFileComp
		},
	}
	for name, complete := range functions {
		if err := root.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // the option is not declared: a mistake in this package
		}
	}
}

// completeAt is for verbs whose arguments are of different kinds: one function an argument, nil for what is not known.
func completeAt(each ...candidates) candidates {
	return func(ctx context.Context, st *store.Store, before []string) ([]string, error) {
		if len(before) >= len(each) || each[len(before)] == nil {
			return nil, nil
		}
		return each[len(before)](ctx, st, before)
	}
}

func namesOf[T any](objects []T, name func(T) string) []string {
	out := make([]string, len(objects))
	for i, o := range objects {
		out[i] = name(o)
	}
	return out
}

func memberNames(ctx context.Context, st *store.Store, _ []string) ([]string, error) {
	return st.Members(ctx)
}

func prefixNames(ctx context.Context, st *store.Store, _ []string) ([]string, error) {
	return st.Prefixes(ctx, maxPrefixes)
}

func poolNames(ctx context.Context, st *store.Store, _ []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindPool)
	if err != nil {
		return nil, err
	}
	return namesOf(snap.Pools(), func(o *model.Pool) string { return o.Name }), nil
}

// subnetsOfSwitch proposes the subnets of the switch that was named before.
func subnetsOfSwitch(ctx context.Context, st *store.Store, before []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindSwitch)
	if err != nil {
		return nil, err
	}
	for _, ls := range snap.Switches() {
		if ls.Name == before[0] {
			return namesOf(ls.Subnets, netip.Prefix.String), nil
		}
	}
	return nil, nil
}

func switchNames(ctx context.Context, st *store.Store, _ []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindSwitch)
	if err != nil {
		return nil, err
	}
	return namesOf(snap.Switches(), func(o *model.LogicalSwitch) string { return o.Name }), nil
}

// switchPortNames proposes the ports of the switch that was named before.
func switchPortNames(ctx context.Context, st *store.Store, before []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindSwitchPort)
	if err != nil {
		return nil, err
	}
	return namesOf(snap.SwitchPorts(before[0]), func(o *model.LogicalSwitchPort) string { return o.Name }), nil
}

func routerNames(ctx context.Context, st *store.Store, _ []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindRouter)
	if err != nil {
		return nil, err
	}
	return namesOf(snap.Routers(), func(o *model.LogicalRouter) string { return o.Name }), nil
}

// routerPortNames proposes the ports of the router that was named before.
func routerPortNames(ctx context.Context, st *store.Store, before []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindRouterPort)
	if err != nil {
		return nil, err
	}
	return namesOf(snap.RouterPorts(before[0]), func(o *model.LogicalRouterPort) string { return o.Name }), nil
}

// routeNames proposes the static routes of the router that was named before.
func routeNames(ctx context.Context, st *store.Store, before []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindRoute)
	if err != nil {
		return nil, err
	}
	return namesOf(snap.Routes(before[0]), func(o *model.StaticRoute) string { return o.Name }), nil
}

// natNames proposes the NAT rules of the router that was named before.
func natNames(ctx context.Context, st *store.Store, before []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindNAT)
	if err != nil {
		return nil, err
	}
	return namesOf(snap.NATRules(before[0]), func(o *model.NATRule) string { return o.Name }), nil
}

func natTypes(context.Context, *store.Store, []string) ([]string, error) {
	return []string{string(model.NATSource), string(model.NATDestination), string(model.NATFloating)}, nil
}

func chassisNames(ctx context.Context, st *store.Store, _ []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindChassis)
	if err != nil {
		return nil, err
	}
	return namesOf(snap.Chassis(), func(o *model.Chassis) string { return o.Name }), nil
}
