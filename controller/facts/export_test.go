package facts

// NewColliding makes a Facts for which all claims have one of two hashes.
func NewColliding() *Facts {
	f := New()
	f.claims.mask = 1
	return f
}
