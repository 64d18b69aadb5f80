package memo

// faults are the mistakes that an engine like this could make. A test switches them on one at a time and demands that
// the other tests notice; see mutation_test.go.
type faults struct {
	forgetsFirstOfTwoSets bool // set-then-back compares with the value in between
	losesIndexAdd         bool
	losesIndexDelete      bool
	ignoresMiss           bool // the read of an absent fact is not recorded
	ignoresList           bool
	ignoresEmptyList      bool
	ignoresDerived        bool
	ignoresGet            bool
	cutsOffAlways         bool // a changed derived value is taken for equal
	cutsOffNever          bool
	losesRootAdd          bool
	losesRootDelete       bool
	losesGroupAdd         bool // the ids of a new group are not looked at
	losesGroupDelete      bool // the units of a group that is gone stay
	losesMemberDelete     bool // an id that left a group that is still there keeps its unit
	forgetsOtherGroups    bool // an id that left one group loses its unit though another has it
	dropsWhoMoves         bool // an id that goes from one group to another loses its unit
	keepsReadsOfGroups    bool // what a group read stays recorded when the group is gone
	recomputesNoGroups    bool // Recompute leaves out the groups
	keepsOldReads         bool // running again does not record the reads anew
	keepsGoneReads        bool // what is not read any more stays recorded
	losesTailOfReads      bool // only as many reads are recorded as there were before
	forgetsHeights        bool // a value is believed final whatever it depends on
	losesRaise            bool // a value that got higher leaves its readers where they are
	recomputesLess        bool // Recompute leaves out the derived values
	collectsNothing       bool // what nobody reads stays
	losesJoinOfFact       bool // a pair is not looked at when its first fact changes
	losesJoinOfOther      bool // a pair is not looked at when its other fact comes into the index
	forgetsOtherPairs     bool // what several pairs put into an entry leaves it with one of them
	unlistsFirst          bool // what one pair hands over to another leaves its entry for a moment
	losesLoneMember       bool // the only member of an entry is forgotten when the entry gets a node
}
