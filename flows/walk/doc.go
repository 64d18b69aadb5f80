// Package walk follows a packet through a whole deployment on paper: it compiles every chassis that the packet visits from
// the objects of the store, as the chassis do themselves, runs the flows in flows/sim, and tells the way in the words of
// the model: which device, which table, which rule because of which object, what was rewritten, and where the packet ends
// and why.
//
// What a chassis knows beside the store (numbers of ports, what answers in the physical network) is taken from what the
// chassis said, if it was asked, and made up otherwise, in a way that is the same every time; a report lists what it
// assumed. The package is pure: it asks nobody. It is called by tpctl; the node daemon makes Facts.
package walk
