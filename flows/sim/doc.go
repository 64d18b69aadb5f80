// Package sim interprets flow tables in memory: for a packet that enters a port it tells which flows act on it, table
// by table, and where copies of it leave, and it walks packets across several switches that are joined by flow-based
// tunnels. It is what offline traces and the property tests of the compiler run on.
//
// It understands exactly what flows/of can express, as Open vSwitch acts on it (its oracle test compares the two),
// but for the ports with a behaviour of their own (NORMAL, FLOOD, ALL, TABLE) and parts of connection tracking (ICMP
// errors, fragments): these end the interpretation with an error. Meters let everything pass. It knows nothing of our tables, registers and objects,
// opens nothing and keeps no time; callers are tests and the trace commands.
package sim
