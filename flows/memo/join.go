package memo

// join is a configured join. A pair is found again by the ID of the fact that has the kind of the join.
type join struct {
	name string
	Join
	at      map[string][]listing // where the pairs of each are listed, one for each pair
	held    map[listing]int32    // by how many pairs
	touched []string             // IDs whose pairs may be others than in the last round
	left    []listing            // of pairs that are not there any more
}

// listing is a key in an entry of a join.
type listing struct {
	entry string
	what  Key
}

func newJoin(name string, j Join) *join {
	made := &join{name: name, Join: j}
	made.forget()
	return made
}

func (j *join) forget() { j.at, j.held = map[string][]listing{}, map[listing]int32{} }

func (j *join) touch(id string) { j.touched = append(j.touched, id) }

// hold makes listings those of the pairs of an ID, in place of what was let go, and returns those that nothing held before.
func (j *join) hold(id string, listings []listing) (fresh []listing) {
	if len(listings) == 0 {
		delete(j.at, id)
		return nil
	}
	j.at[id] = listings
	for _, l := range listings {
		if j.held[l]++; j.held[l] == 1 {
			fresh = append(fresh, l)
		}
	}
	return fresh
}

// release counts a pair less, and tells whether nothing holds its listing any more.
func (j *join) release(l listing) bool {
	if j.held[l]--; j.held[l] > 0 {
		return false
	}
	delete(j.held, l)
	return true
}

// pairs are the listings of a fact with each of those that it goes with.
func (c *core) pairs(j *join, fact any, with []Key) (listings []listing) {
	for _, k := range with {
		if entry, what, ok := j.Entry(fact, c.facts[k].value); ok {
			listings = append(listings, listing{entry, what})
		}
	}
	return listings
}

// listed is the content of an entry of an index.
func (c *core) listed(entry Key) []Key {
	if n := c.entries[entry]; n != nil {
		return n.value.(*members).list()
	}
	if fact := c.alone[entry]; fact != nil {
		return []Key{fact.key}
	}
	return nil
}

// rejoin brings the joins up to date with the facts and the indexes. All that comes is counted before anything that goes, so that what one
// pair hands over to another stays where it is.
func (c *core) rejoin() {
	for _, j := range c.joins {
		for _, id := range j.touched {
			before := j.at[id]
			var now []listing
			if n := c.facts[Key{j.Kind, id}]; n != nil && n.value != nil {
				now = c.pairs(j, n.value, c.listed(Key{j.Index, id}))
			}
			if c.faults.unlistsFirst {
				c.drop(j, before)
			} else {
				j.left = append(j.left, before...)
			}
			for _, l := range j.hold(id, now) {
				n := c.entry(Key{j.name, l.entry})
				n.value.(*members).add(l.what)
				c.changed(n)
			}
		}
		c.drop(j, j.left)
		j.touched, j.left = reused(j.touched), reused(j.left)
	}
}

// drop takes out what no pair holds any more.
func (c *core) drop(j *join, left []listing) {
	for _, l := range left {
		if !j.release(l) && !c.faults.forgetsOtherPairs {
			continue
		}
		n := c.entry(Key{j.name, l.entry})
		n.value.(*members).remove(l.what)
		c.changed(n)
		c.orphan(n)
	}
}

// reused is an empty list in the room of one, if that is not for ever what the largest round took.
func reused[T any](list []T) []T {
	if cap(list) > 256 {
		return nil
	}
	clear(list)
	return list[:0]
}
