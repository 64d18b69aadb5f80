package facts

// NewColliding makes a Facts for which all claims, and all objects, have one of two hashes.
func NewColliding() *Facts {
	f := New()
	f.claims.mask, f.objects.mask = 1, 1
	return f
}
